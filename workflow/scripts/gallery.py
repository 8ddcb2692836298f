"""Look at stored examples of cells drawn by seed: what the model said before and after, and where it looked."""

import json
from itertools import groupby

import numpy as np
import torch

from zsr.data import prepared
from zsr.epsilon import eps_of
from zsr.errors import ZsrError
from zsr.evaluation import gallery
from zsr.jobs.run import Job, run
from zsr.plan.gallery_cells import LIMIT
from zsr.plan.plan import Plan
from zsr.results import collect, models
from zsr.storage.examples import pixels, read_examples, stored
from zsr.storage.input_hashes import input_hashes_of
from zsr.storage.records import check_digest, read_record
from zsr.storage.rows import read_rows

MOST = 4  # images of one cell


def work(job: Job) -> None:
    torch.set_num_threads(1)
    entries: list[dict] = []
    pictures = Pictures()
    if job.spec["config"] is not None:
        plan = collect.rebuild(job.spec["config"], job.results)
        if plan.digest(plan.shown) != job.spec["cells"]:
            raise ZsrError("gallery: code or config changed after this job was planned; run snakemake again")
        each = max(1, min(MOST, LIMIT // len(plan.shown)))
        by_model = sorted(plan.shown, key=lambda cell: cell.wildcards["model"])  # each model is loaded once
        for _, cells in groupby(by_model, key=lambda cell: cell.wildcards["model"]):
            cells = list(cells)
            loaded = models.model(plan, cells[0].needs["model"])
            for cell in cells:
                entries += look(plan, cell, loaded, each, pictures)
        places = {cell.record: i for i, cell in enumerate(plan.shown)}
        job.read = input_hashes_of(plan, plan.gallery)
        entries.sort(key=lambda entry: places[entry.pop("cell")])  # the order of the config again
    job.outputs["entries"].write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    with job.outputs["pictures"].open("wb") as file:
        np.savez(file, **pictures.arrays)
    job.facts["entries"] = len(entries)


class Pictures:
    """Every picture once, by number: all models of a set share the original image."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._known: dict[bytes, str] = {}

    def add(self, picture: np.ndarray) -> int:
        key = repr(picture.shape).encode() + picture.tobytes()
        if key not in self._known:
            self._known[key] = str(len(self.arrays))
            self.arrays[self._known[key]] = picture
        return int(self._known[key])


def look(plan: Plan, cell, loaded: tuple, each: int, pictures: Pictures) -> list[dict]:
    """The entries of one cell."""
    record = read_record(plan.results / cell.record, cell.hash)
    data = cell.needs["data"]
    asked = plan.asked[cell.record]
    classes = plan.config["datasets"][asked.dataset]["classes"]
    images, _ = prepared.read(
        plan.results / data.outputs["images"], read_record(plan.results / data.record, data.hash), len(classes)
    )
    table = read_rows(plan.results / cell.outputs["rows"], record["digests"]["rows"])
    rows = {int(row["index"]): row for row in table.to_pylist()}
    path = check_digest(plan.results / cell.outputs["examples"], record["digests"]["examples"])
    kept = {int(index): place for place, index in enumerate(stored(path))}
    chosen = gallery.draw(rows, kept, each, plan.config["seed"], asked.dataset)
    x = torch.from_numpy(pixels(images[chosen]))
    x_adv = x.clone()
    felled = [i for i, index in enumerate(chosen) if index in kept]
    x_adv[felled] = torch.from_numpy(read_examples(path, images, [kept[chosen[i]] for i in felled]).x_adv)
    backbone = loaded[0]
    mean, std = torch.tensor(backbone.mean), torch.tensor(backbone.std)
    net = models.zero_shot(plan, cell, loaded)
    norm = cell.spec["norm"]
    looks = gallery.look(net, mean, std, x, x_adv, float(eps_of(cell.spec["eps"], "eps", norm)), norm)
    found = []
    for index, seen in zip(chosen, looks, strict=True):
        row, felled = rows[index], index in kept
        kind, words = gallery.fate(row["label"], row["clean"], row["robust"], row["step"])
        maps = [] if seen.attention is None else list(seen.attention[: 1 + felled])
        found.append(
            {
                "cell": cell.record,
                "protocol": cell.wildcards["protocol"],
                "backbone": asked.backbone,
                "id": cell.wildcards["model"],
                "dataset": asked.dataset,
                "attack": collect.label(plan, cell),
                "eps": cell.spec["eps"],
                "index": index,
                "label": classes[row["label"]],
                "fate": kind,
                "words": words,
                "before": [(classes[c], p) for c, p in seen.before],
                "after": [(classes[c], p) for c, p in seen.after] if felled else None,
                "image": pictures.add(seen.image),
                "adversarial": pictures.add(seen.adversarial) if felled else None,
                "perturbation": pictures.add(seen.perturbation) if felled else None,
                "times": seen.times if felled else None,
                "attention": [pictures.add(attention) for attention in maps],
            }
        )
    return found


if __name__ == "__main__":
    run(work)

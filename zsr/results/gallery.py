"""The gallery of a finished plan: images of the plan's gallery cells, before and after the attack."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn

from zsr.data import prepared
from zsr.epsilon import eps_of
from zsr.evaluation.gallery import Look, draw, fate, look
from zsr.plan.gallery_cells import LIMIT
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.results import collect, models
from zsr.storage.examples import pixels, read_examples, stored
from zsr.storage.records import check_digest, read_record
from zsr.storage.rows import read_rows

MOST = 4  # images of one cell


class Pictures:
    """Every picture once, by number: all models of a set share the original image."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._known: dict[bytes, str] = {}

    def add(self, picture: np.ndarray) -> int:
        """The number of a picture."""
        key = repr(picture.shape).encode() + picture.tobytes()
        if key not in self._known:
            self._known[key] = str(len(self.arrays))
            self.arrays[self._known[key]] = picture
        return int(self._known[key])


def gallery(plan: Plan) -> tuple[list[dict], dict[str, np.ndarray]]:
    """(the entries in the order of the config, the pictures that they name by number)."""
    pictures = Pictures()
    images: dict[str, np.ndarray] = {}  # record of a preparation -> its images, opened once
    each = max(1, min(MOST, LIMIT // len(plan.gallery_cells)))
    entries: dict[str, list[dict]] = {}
    by_model = sorted(plan.gallery_cells, key=lambda cell: cell.wildcards["model"])  # each model is loaded once
    for _, group in groupby(by_model, key=lambda cell: cell.wildcards["model"]):
        cells = list(group)
        loaded = models.model(plan, cells[0].needs["model"])
        mean, std = (torch.tensor(values) for values in (loaded[0].mean, loaded[0].std))
        for cell in cells:
            net, data = models.zero_shot(plan, cell, loaded), cell.needs["data"]
            if data.record not in images:
                images[data.record] = images_of(plan, cell)
            entries[cell.record] = cell_entries(plan, cell, (net, mean, std), images[data.record], each, pictures)
    return [entry for cell in plan.gallery_cells for entry in entries[cell.record]], pictures.arrays


def images_of(plan: Plan, cell: PlannedJob) -> np.ndarray:
    """All images of the split that a cell is about."""
    data, classes = cell.needs["data"], plan.config.datasets[plan.requests[cell.record].dataset].classes
    record = read_record(plan.results / data.record, data.hash)
    return prepared.read(plan.results / data.outputs["images"], record, len(classes))[0]


def cell_entries(
    plan: Plan,
    cell: PlannedJob,
    model: tuple[nn.Module, Tensor, Tensor],
    images: np.ndarray,
    each: int,
    pictures: Pictures,
) -> list[dict]:
    """The entries of one cell, for at most `each` of its images; `model` is what it attacked, with mean and std."""
    record, request = read_record(plan.results / cell.record, cell.hash), plan.requests[cell.record]
    classes = plan.config.datasets[request.dataset].classes
    table = read_rows(plan.results / cell.outputs["rows"], record["digests"]["rows"])
    rows = {int(row["index"]): row for row in table.to_pylist()}
    path = check_digest(plan.results / cell.outputs["examples"], record["digests"]["examples"])
    example_of = {int(index): number for number, index in enumerate(stored(path))}
    chosen = draw(rows, example_of, each, plan.config.seed, request.dataset)
    x = torch.from_numpy(pixels(images[chosen]))
    x_adv = x.clone()
    fooled = [i for i, index in enumerate(chosen) if index in example_of]
    x_adv[fooled] = torch.from_numpy(read_examples(path, images, [example_of[chosen[i]] for i in fooled]).x_adv)
    norm = cell.spec["norm"]
    looks = look(*model, x, x_adv, float(eps_of(cell.spec["eps"], "eps", norm)), norm)
    shared = {
        "protocol": cell.wildcards["protocol"],
        "backbone": request.backbone,
        "id": cell.wildcards["model"],
        "dataset": request.dataset,
        "attack": collect.label(request),
        "eps": cell.spec["eps"],
    }
    return [
        {**shared, "index": index, **entry(rows[index], seen, index in example_of, classes, pictures)}
        for index, seen in zip(chosen, looks, strict=True)
    ]


def entry(row: dict, seen: Look, has_example: bool, classes: Sequence[str], pictures: Pictures) -> dict:
    """What the page says of one image; what follows from the adversarial example is left out where none is stored."""
    kind, words = fate(row["label"], row["clean"], row["robust"], row["step"])
    maps = [] if seen.attention is None else list(seen.attention[: 1 + has_example])
    return {
        "label": classes[row["label"]],
        "fate": kind,
        "words": words,
        "before": [(classes[c], p) for c, p in seen.before],
        "after": [(classes[c], p) for c, p in seen.after] if has_example else None,
        "image": pictures.add(seen.image),
        "adversarial": pictures.add(seen.adversarial) if has_example else None,
        "perturbation": pictures.add(seen.perturbation) if has_example else None,
        "times": seen.times if has_example else None,
        "attention": [pictures.add(attention) for attention in maps],
    }

"""Put tables, figures, contact sheets and evidence on one page that needs no network."""

import json
from pathlib import Path

import numpy as np

from zsr import arrays, gather, layout
from zsr.job import Job, run
from zsr.reading import read_by
from zsr.report import csvs, figures, page, published
from zsr.report.sheet import contact_sheet
from zsr.store import check_digest, read_record


def work(job: Job) -> None:
    plan = gather.rebuild(job.spec["config"], job.results)
    tables = csvs.read(job.input("tables").parent, job.record("tables"))
    charts = json.loads(checked(job, "figures", "charts").read_text(encoding="utf-8"))
    entries = json.loads(checked(job, "gallery", "entries").read_text(encoding="utf-8"))
    with np.load(checked(job, "gallery", "pictures"), allow_pickle=False) as arrays_of:
        shown = {name: arrays_of[name] for name in arrays_of.files}
    pictures = {name: figures.svg(spec) for name, spec in charts.items()}
    cells = gather.cells(plan)
    html = page.render(
        tables,
        charts,
        pictures,
        title=job.spec["title"],
        cells=cells,
        models=gather.models(plan),
        sheets=[sheet(plan, name) for name in plan.sheets],
        examples=(entries, shown),
        beside=published.beside(cells),
    )
    job.outputs["page"].write_text(html, encoding="utf-8")
    job.read = read_by(plan, plan.report)


def checked(job: Job, role: str, name: str) -> Path:
    """One output of an upstream job, its bytes checked."""
    path = Path(job.results) / layout.OUTPUTS[role][name]
    return check_digest(path, job.record(role)["digests"][name])


def sheet(plan: gather.Plan, dataset: str) -> dict:
    """A contact sheet of one dataset, drawn by seed, never by taste."""
    source = plan.sheets[dataset]
    record = read_record(plan.results / source.record, source.hash)
    images, labels = arrays.read(plan.results / source.outputs["images"], record)
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:40])
    about = plan.config["datasets"][dataset]
    size = f"{len(about['classes']) or 'no'} classes, {len(labels)} images"
    said = [about["about"], size, about["source"], about["licence"]]
    return {
        "name": dataset,
        "caption": "".join(f"{text[:1].upper()}{text[1:].rstrip('.')}. " for text in said if text).strip(),
        "png": contact_sheet(images[chosen]),
    }


if __name__ == "__main__":
    run(work)

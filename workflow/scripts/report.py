"""Put tables, figures, contact sheets and evidence on one page that needs no network."""

import json
from pathlib import Path

import numpy as np

from zsr.data import prepared
from zsr.jobs.run import Job, run
from zsr.report import csv_tables, published_numbers
from zsr.report.figures import vega
from zsr.report.page.build import build_page
from zsr.report.page.contact_sheet import Sheet, contact_sheet
from zsr.results import collect
from zsr.storage import layout
from zsr.storage.input_hashes import input_hashes_of
from zsr.storage.records import check_digest, read_record


def work(job: Job) -> None:
    plan = collect.rebuild(job.spec["config"], job.results)
    tables = csv_tables.read(job.input("tables").parent, job.record("tables"))
    charts = json.loads(checked(job, "figures", "charts").read_text(encoding="utf-8"))
    entries = json.loads(checked(job, "gallery", "entries").read_text(encoding="utf-8"))
    with np.load(checked(job, "gallery", "pictures"), allow_pickle=False) as arrays_of:
        shown = {name: arrays_of[name] for name in arrays_of.files}
    pictures = {name: vega.svg(spec) for name, spec in charts.items()}
    cells = collect.cells(plan)
    html = build_page(
        tables,
        charts,
        pictures,
        title=job.spec["title"],
        cells=cells,
        models=collect.models(plan),
        sheets=[sheet(plan, name) for name in plan.sheets],
        examples=(entries, shown),
        beside=published_numbers.beside(cells),
    )
    job.outputs["page"].write_text(html, encoding="utf-8")
    job.read = input_hashes_of(plan, plan.report)


def checked(job: Job, role: str, name: str) -> Path:
    """One output of an upstream job, its bytes checked."""
    path = Path(job.results) / layout.OUTPUTS[role][name]
    return check_digest(path, job.record(role)["digests"][name])


def sheet(plan: collect.Plan, dataset: str) -> Sheet:
    """A contact sheet of one dataset, with images from a seeded random draw."""
    source = plan.sheets[dataset]
    record = read_record(plan.results / source.record, source.hash)
    images, labels = prepared.read(plan.results / source.outputs["images"], record)
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:40])
    about = plan.config["datasets"][dataset]
    size = f"{len(about['classes']) or 'no'} classes, {len(labels)} images"
    said = [about["about"], size, about["source"], about["licence"]]
    caption = "".join(f"{text[:1].upper()}{text[1:].rstrip('.')}. " for text in said if text).strip()
    return Sheet(dataset, caption, contact_sheet(images[chosen]))


if __name__ == "__main__":
    run(work)

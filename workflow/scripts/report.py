"""Put tables, figures, contact sheets and evidence on one page that needs no network."""

import json

import numpy as np

from zsr.jobs.run import JobRun, run
from zsr.report import csv_tables, published_numbers
from zsr.report.figures import vega
from zsr.report.page.build import build_page
from zsr.report.page.contact_sheet import Sheet, contact_sheet
from zsr.results import collect
from zsr.results.sheets import sheet
from zsr.storage.input_hashes import input_hashes_of


def work(job: JobRun) -> None:
    plan = collect.rebuild(job.spec["config"], job.results)
    tables = csv_tables.read(job.input("tables").parent, job.record("tables"))
    charts = json.loads(job.checked("figures", "charts").read_text(encoding="utf-8"))
    entries = json.loads(job.checked("gallery", "entries").read_text(encoding="utf-8"))
    with np.load(job.checked("gallery", "pictures"), allow_pickle=False) as arrays_of:
        shown = {name: arrays_of[name] for name in arrays_of.files}
    pictures = {name: vega.svg(spec) for name, spec in charts.items()}
    cells = collect.cells(plan)
    sheets = [sheet(plan, name) for name in plan.sheets]
    html = build_page(
        tables,
        charts,
        pictures,
        title=job.spec["title"],
        cells=cells,
        models=collect.models(plan),
        sheets=[Sheet(one.name, one.caption, contact_sheet(one.images)) for one in sheets],
        examples=(entries, shown),
        beside=published_numbers.beside(cells),
    )
    job.outputs["page"].write_text(html, encoding="utf-8")
    job.read = input_hashes_of(plan, plan.report)


if __name__ == "__main__":
    run(work)

"""Draw the figures from the tables and the training logs, as Vega-Lite."""

import json

from zsr.jobs.run import JobRun, run
from zsr.report import csv_tables
from zsr.report.figures import vega
from zsr.report.figures.build import build_figures
from zsr.results import collect
from zsr.storage.input_hashes import input_hashes_of


def work(job: JobRun) -> None:
    tables = csv_tables.read(job.input("tables").parent, job.record("tables"))
    plan = collect.rebuild(job.spec["config"], job.results)
    charts = build_figures(tables, collect.logs(plan))
    job.outputs["charts"].write_text(
        json.dumps({name: vega.spec(chart) for name, chart in charts.items()}), encoding="utf-8"
    )
    job.facts["figures"] = sorted(charts)
    job.read = input_hashes_of(plan, plan.figures)


if __name__ == "__main__":
    run(work)

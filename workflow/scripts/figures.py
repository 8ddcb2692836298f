"""Draw the figures from the tables and the training logs, as Vega-Lite."""

import json

from zsr import gather
from zsr.job import Job, run
from zsr.reading import read_by
from zsr.report import csvs, figures


def work(job: Job) -> None:
    tables = csvs.read(job.input("tables").parent, job.record("tables"))
    plan = gather.rebuild(job.spec["config"], job.results)
    charts = figures.build(tables, gather.logs(plan))
    job.outputs["charts"].write_text(
        json.dumps({name: figures.spec(chart) for name, chart in charts.items()}), encoding="utf-8"
    )
    job.facts["figures"] = sorted(charts)
    job.read = read_by(plan, plan.figures)


if __name__ == "__main__":
    run(work)

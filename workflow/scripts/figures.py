"""Draw the figures from the tables and the training logs, as Vega-Lite."""

import json

from zsr import gather
from zsr.job import Job, run
from zsr.report import csvs, figures
from zsr.store import check_digest


def work(job: Job) -> None:
    record = job.record("tables")
    folder = job.input("tables").parent
    tables = {
        name: csvs.loads(check_digest(folder / f"{name}.csv", digest).read_text())
        for name, digest in record["digests"].items()
    }
    plan = gather.rebuild(job.spec["config"], job.results)
    charts = figures.build(tables, gather.logs(plan))
    job.outputs["charts"].write_text(json.dumps({name: figures.spec(chart) for name, chart in charts.items()}))
    job.facts["figures"] = sorted(charts)


if __name__ == "__main__":
    run(work)

"""Read every cell that the plan lists and write the tables."""

from pathlib import Path

from zsr.errors import ZsrError
from zsr.jobs.run import JobRun, run
from zsr.plan.graph import digest_of
from zsr.report import csv_tables
from zsr.report.tables.build import build_tables
from zsr.results import collect
from zsr.storage.input_hashes import input_hashes_of
from zsr.storage.rows import read_rows


def work(job: JobRun) -> None:
    plan = collect.rebuild(job.spec["config"], job.results)
    if digest_of(plan.cells) != job.spec["cells"]:
        raise ZsrError("tables: code or config changed after this job was planned; run snakemake again")
    cells = collect.cells(plan)
    made = build_tables(
        cells, lambda cell: read_rows(Path(cell["path"]), cell["digests"]["rows"]).to_pandas(), collect.models(plan)
    )
    for name, table in made.items():
        job.outputs[name].write_text(csv_tables.dumps(table), encoding="utf-8")
    job.facts["cells"] = len(cells)
    job.read = input_hashes_of(plan, plan.tables)


if __name__ == "__main__":
    run(work)

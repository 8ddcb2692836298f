"""Read every cell that the plan lists and write the tables."""

from pathlib import Path

from zsr import gather
from zsr.errors import ZsrError
from zsr.job import Job, run
from zsr.reading import read_by
from zsr.report import csvs, tables
from zsr.rows import read_rows


def work(job: Job) -> None:
    plan = gather.rebuild(job.spec["config"], job.results)
    if plan.digest(plan.cells) != job.spec["cells"]:
        raise ZsrError("tables: code or config changed after this job was planned; run snakemake again")
    cells = gather.cells(plan)
    made = tables.build(
        cells, lambda cell: read_rows(Path(cell["path"]), cell["digests"]["rows"]).to_pandas(), gather.models(plan)
    )
    for name, table in made.items():
        job.outputs[name].write_text(csvs.dumps(table), encoding="utf-8")
    job.facts["cells"] = len(cells)
    job.read = read_by(plan, plan.tables)


if __name__ == "__main__":
    run(work)

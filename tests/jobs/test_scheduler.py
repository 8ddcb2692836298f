"""Snakemake's scheduler looks for jobs when one ends, and not once a second for every job that has ended."""

from support.project import Project

CELLS = 8


def remove_cells(copy: Project) -> None:
    """Eight results are missing."""
    for path in sorted(copy.path("results/eval").rglob("*.parquet"))[:CELLS]:
        path.unlink()


def test_one_look_for_each_job_that_ends(copy):
    remove_cells(copy)
    said = copy.snakemake("--verbose", "--until", "evaluate")
    assert said.count("Finished jobid") == CELLS
    assert CELLS / 2 <= said.count("Ready jobs:") <= CELLS + 2


def test_a_limit_that_is_asked_for_stands(copy):
    remove_cells(copy)
    said = copy.snakemake("--max-jobs-per-timespan", "1/2s", "--until", "evaluate")
    assert said.count("Finished jobid") == CELLS
    assert "Job rate limit reached" in said

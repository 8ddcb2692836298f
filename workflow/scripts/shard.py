"""Evaluate one shard of a cell: the same work on a part of its images."""

from workflow.scripts.evaluate import work
from zsr.jobs.run import run

if __name__ == "__main__":
    run(work)

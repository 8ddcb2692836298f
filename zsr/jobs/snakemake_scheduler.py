"""How often Snakemake looks for jobs to start.

Snakemake 9 limits starts to 100 a second unless told otherwise, and with any limit its scheduler looks again a second
after each look, whatever happens. A job that ends adds a look of its own, so there are as many looks a second as jobs
have ended, and each asks for the size of every input of every job that is ready: with 700 cells waiting and 75 jobs
ended it took half a core (docs/performance.md). Without a limit it looks when a job ends, and at no other time.
"""

from typing import Any

DEFAULT = (100, 1)  # starts, seconds


def look_when_jobs_end(scheduler: Any) -> None:
    """Drop the limit that Snakemake's scheduler has by itself, before it begins; one that was asked for stays."""
    limit = scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == DEFAULT:
        scheduler.job_rate_limiter = None

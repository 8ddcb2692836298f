"""Look at stored examples of the gallery's cells: what the model said before and after, and where it looked."""

import json
from typing import Any

import numpy as np
import torch

from zsr.errors import ZsrError
from zsr.jobs.run import JobRun, run
from zsr.plan.graph import digest_of
from zsr.results import collect
from zsr.results.gallery import gallery
from zsr.storage.input_hashes import input_hashes_of


def work(job: JobRun) -> None:
    torch.set_num_threads(1)
    entries: list[dict] = []
    pictures: dict[str, Any] = {}
    if job.spec["config"] is not None:
        plan = collect.rebuild(job.spec["config"], job.results)
        if digest_of(plan.gallery_cells) != job.spec["cells"]:
            raise ZsrError("gallery: code or config changed after this job was planned; run snakemake again")
        entries, pictures = gallery(plan)
        job.read = input_hashes_of(plan, plan.gallery)
    job.outputs["entries"].write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    with job.outputs["pictures"].open("wb") as file:
        np.savez(file, **pictures)
    job.facts["entries"] = len(entries)


if __name__ == "__main__":
    run(work)

"""Decode or draw one split of a dataset, once, into memory-mapped arrays."""

import json

from zsr import registry
from zsr.jobs.run import JobRun, run


def work(job: JobRun) -> None:
    spec = job.spec
    reader = registry.load("data/readers", spec["reader"])(**spec["options"])
    facts, captions = reader.prepare(spec, job.outputs["images"], job.outputs["labels"], job.hash)
    job.outputs["captions"].write_text(json.dumps(captions, ensure_ascii=False), encoding="utf-8")
    job.facts |= facts


if __name__ == "__main__":
    run(work)

"""Decode or draw one split of a dataset, once, into memory-mapped arrays."""

import json

from zsr import arrays, registry
from zsr.errors import ZsrError
from zsr.job import Job, run


def work(job: Job) -> None:
    spec = job.spec
    reader = registry.load("data/readers", spec["reader"])(**spec["options"])
    if spec["transform"] != "native":
        raise ZsrError(f"unknown transform '{spec['transform']}'")
    facts, captions = arrays.write(
        reader.read(spec["split"]), spec["count"], job.outputs["images"], job.outputs["labels"]
    )
    job.outputs["captions"].write_text(json.dumps(captions, ensure_ascii=False))
    job.facts |= facts


if __name__ == "__main__":
    run(work)

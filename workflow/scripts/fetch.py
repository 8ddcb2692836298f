"""Fetch one backbone and convert it once: every later job reads our own safetensors and how to rebuild the model."""

from safetensors.torch import save_file

from zsr.jobs.run import JobRun, run
from zsr.models.backbone import save_tensors
from zsr.models.fetch import fetch


def work(job: JobRun) -> None:
    weights_from = job.spec["source"]
    file = job.input("weights") if "sha256" in weights_from else None
    backbone, facts = fetch(weights_from, job.spec["definition"], file)
    save_file(save_tensors(backbone), job.outputs["weights"])
    job.facts |= facts


if __name__ == "__main__":
    run(work)

"""A model whose method does not train: no tensors of its own, only the digest of its backbone."""

from safetensors.numpy import save_file

from zsr import registry
from zsr.jobs.run import JobRun, run


def work(job: JobRun) -> None:
    registry.load("methods", job.spec["method"])(**job.spec["settings"])
    save_file({}, job.outputs["weights"])
    job.outputs["log"].write_text("", encoding="utf-8")
    job.facts |= {"backbone": job.digest("backbone", "weights"), "cost": {}}


if __name__ == "__main__":
    run(work)

"""A backbone for models that start from another model: all its weights, with that model's tensors in their places."""

from safetensors.numpy import load_file, save_file

from zsr.jobs.run import JobRun, run
from zsr.models.backbone import definition_of
from zsr.training.interpolation import over


def work(job: JobRun) -> None:
    base, tensors = (load_file(job.checked(role, "weights")) for role in ("backbone", "model"))
    save_file(over(base, tensors, job.weights("model")), job.outputs["weights"])
    job.facts |= {
        "definition": definition_of(job.record("backbone")),
        "made_of": {role: job.digest(role, "weights") for role in ("backbone", "model")},
    }


if __name__ == "__main__":
    run(work)

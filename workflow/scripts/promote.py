"""A backbone for models that start from another model: all its weights, with that model's tensors in their places."""

from safetensors.numpy import load_file, save_file

from zsr.jobs.run import Job, run
from zsr.models.backbone import definition_of
from zsr.storage.records import check_digest
from zsr.training.interpolation import over


def work(job: Job) -> None:
    paths = {role: job.input(role).with_name("weights.safetensors") for role in ("backbone", "model")}
    digests = {role: job.record(role)["digests"]["weights"] for role in paths}
    base, tensors = (load_file(check_digest(path, digests[role])) for role, path in paths.items())
    save_file(over(base, tensors, paths["model"]), job.outputs["weights"])
    job.facts |= {"definition": definition_of(job.record("backbone")), "made_of": digests}


if __name__ == "__main__":
    run(work)

"""A model between two others of one backbone: the tensors in which it differs from that backbone."""

from safetensors.numpy import load_file, save_file

from zsr.jobs.run import Job, run
from zsr.storage.records import check_digest
from zsr.training.interpolation import mix, offsets


def work(job: Job) -> None:
    paths = {role: job.input(role).with_name("weights.safetensors") for role in ("backbone", "start", "end")}
    digests = {role: job.record(role)["digests"]["weights"] for role in paths}
    base, start, end = (load_file(check_digest(path, digests[role])) for role, path in paths.items())
    save_file(offsets(mix(base, start, end, job.spec["alpha"]), base), job.outputs["weights"])
    job.outputs["log"].write_text("", encoding="utf-8")
    job.facts |= {"backbone": digests["backbone"], "ends": [digests["start"], digests["end"]], "cost": {}}


if __name__ == "__main__":
    run(work)

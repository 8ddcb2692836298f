"""A model between two others of one backbone: the tensors in which it differs from that backbone."""

from safetensors.numpy import load_file, save_file

from zsr.jobs.run import JobRun, run
from zsr.training.interpolation import mix, offsets


def work(job: JobRun) -> None:
    base, start, end = (load_file(job.checked(role, "weights")) for role in ("backbone", "start", "end"))
    save_file(offsets(mix(base, start, end, job.spec["alpha"]), base), job.outputs["weights"])
    job.outputs["log"].write_text("", encoding="utf-8")
    job.facts |= {
        "backbone": job.digest("backbone", "weights"),
        "ends": [job.digest("start", "weights"), job.digest("end", "weights")],
        "cost": {},
    }


if __name__ == "__main__":
    run(work)

"""Weights that others published, over their backbone: only the tensors that differ from it are kept."""

from safetensors.torch import load_file, save_file

from zsr.jobs.run import JobRun, run
from zsr.models import hub, weights
from zsr.models.backbone import definition_of
from zsr.models.convert import changed, check_gelu, check_text, tower_of


def work(job: JobRun) -> None:
    source = job.spec["source"]
    record = job.record("backbone")
    base = load_file(job.checked("backbone", "weights"))
    if "sha256" in source:
        path = job.input("weights")
    else:
        path = hub.weights(source["hub"], source["file"], source.get("revision"))
    digest = weights.check(path, source.get("sha256"))
    tensors, quick = weights.read(path)
    check_gelu(definition_of(record), quick, path)
    tower, rest = tower_of(tensors)
    check_text(rest, base, path)
    save_file(changed(tower, base, path), job.outputs["weights"])
    job.outputs["log"].write_text("", encoding="utf-8")
    job.facts |= {"backbone": job.digest("backbone", "weights"), "file": path.name, "sha256": digest, "cost": {}}


if __name__ == "__main__":
    run(work)

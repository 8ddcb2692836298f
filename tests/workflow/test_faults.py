"""Bad input and damage on the way: one line with the file and the cure, nothing half-written, nothing believed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from safetensors.numpy import load_file, save_file
from support.project import Project
from support.waiting import wait_for

from zsr.hashing import file_digest
from zsr.plan.plan import Plan
from zsr.storage.records import seal

pytestmark = pytest.mark.slow


def lines(output: str) -> list[str]:
    """What zsr itself says; the terminal shows each line once."""
    return [line for line in output.splitlines() if line.startswith("zsr: ")]


def test_a_mistake_in_the_config_is_one_line_without_traceback(project):
    config = project.config
    config["models"][1]["method"] = "tecao"
    project.configure(config)
    for output in (project.snakemake("-n", code=1), project.zsr("status", code=1)):
        assert "models[1] 'tecoa': unknown method 'tecao'; did you mean 'tecoa'?" in output
        assert "Traceback" not in output


def test_results_that_cannot_be_written(project):
    project.path("results").write_text("a file where the folder should be", encoding="utf-8")
    output = project.snakemake("-n", code=1)
    assert "results: cannot be written" in output
    assert "Traceback" not in output


def damage(project: Project, name: str) -> str:
    path = project.path(name)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    return str(path.relative_to(project.folder))


def test_a_damaged_dataset_is_named_by_the_job_that_reads_it(copy):
    name = damage(copy, "results/data/drawn-colour/test/native/images.npy")
    shutil.rmtree(copy.path("results/eval/mini/rn.clip/drawn-colour"))
    output = copy.snakemake("--until", "evaluate", code=1)
    (line,) = set(lines(output))
    assert line.startswith(f"zsr: {name}: damaged, its bytes are not those that were written; run `zsr repair`")
    assert "Traceback" not in output
    assert "removed prepare drawn-colour test native" in copy.zsr("repair")


def test_a_model_over_another_backbone(copy):
    """Weights with a right digest, but others than the model was made from, as if copied with their record."""
    folder = copy.path("results/backbones/rn")
    tensors = load_file(folder / "weights.safetensors")
    tensors["visual.conv1.weight"] = tensors["visual.conv1.weight"][:, :2].copy()
    save_file(tensors, folder / "weights.safetensors")
    record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    record["digests"]["weights"] = file_digest(folder / "weights.safetensors")
    record["seal"] = seal(record)
    before = (folder / "manifest.json").stat()
    (folder / "manifest.json").write_text(json.dumps(record), encoding="utf-8")
    os.utime(folder / "manifest.json", ns=(before.st_atime_ns, before.st_mtime_ns))
    target = "results/eval/mini/rn.clip/drawn-colour/pgd/eps-1_255.parquet"
    copy.path(target).unlink()
    output = copy.snakemake(target, code=1)
    assert any("rn.clip" in line and "trained on the backbone" in line for line in lines(output))
    assert "Traceback" not in output


def test_packages_that_are_not_the_pins(copy):
    copy.path("results/eval/mini/rn.clip/drawn-colour/pgd/eps-1_255.parquet").unlink()
    copy.edit("envs/evaluate.yaml", "pyarrow==26.0.1", "pyarrow==1.0.0")
    output = copy.snakemake("--until", "heads", code=1)
    assert any(
        re.search(r"pyarrow 26\.0\.1 is installed, envs/evaluate\.yaml pins 1\.0\.0", line) for line in lines(output)
    )


def test_a_traceback_for_those_who_ask(project):
    config = project.config
    config["models"][1]["method"] = "tecao"
    project.configure(config)
    output = project.run("zsr", "status", code=None, env={"ZSR_TRACEBACK": "1"})
    assert "Traceback" in output


def test_jobs_die_with_snakemake_and_training_goes_on_where_it_was(project):
    """kill -9 of Snakemake in the middle of a training: no orphan, a checkpoint, and the same weights in the end."""
    config = project.config
    config["backbones"] = config["backbones"][:1]
    config["backbones"][0]["pretrain"]["steps"] = 400
    project.configure(config)
    target = "results/backbones/rn/weights.safetensors"
    command = [sys.executable, "-m", "snakemake", "--cores", "2", target]
    running = subprocess.Popen(command, cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = project.path("results/backbones/rn")
    wait_for(lambda: any(part.stat().st_size > 2000 for part in log.glob("..train.jsonl.part.*")), 240)
    job = int(subprocess.check_output(["pgrep", "-n", "-f", "workflow.scripts.pretrain"], text=True))
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{job}") or state(job) == "Z", 30)
    assert (log / "last.ckpt").exists()
    assert not project.path(target).exists()
    locked = project.snakemake(target, code=1)
    assert "unlock" in locked
    project.snakemake("--unlock")
    project.snakemake(target)
    steps = [json.loads(line)["step"] for line in (log / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert steps == list(range(400))
    resumed = file_digest(project.path(target))
    assert not (log / "last.ckpt").exists()
    shutil.rmtree(log)
    project.snakemake(target)
    assert file_digest(project.path(target)) == resumed


def state(pid: int) -> str:
    """The process's state letter, Z for one that has ended and was not yet waited for."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def test_status_counts(copy):
    plan = Plan(copy.config)
    text = copy.zsr("status")
    assert re.search(rf"evaluate +{len(plan.cells)} +0 +0", text)
    copy.path("results/eval/mini/rn.clip/drawn-colour/pgd/eps-1_255.json").unlink()
    text = copy.zsr("status", "--missing")
    assert re.search(rf"evaluate +{len(plan.cells) - 1} +0 +0 +1", text)
    assert "missing: evaluate mini rn.clip drawn-colour pgd 1_255" in text

"""Trainings that are stopped: a signal, a failure at the very end; and where they go on."""

import json
import resource
import signal
import time
from pathlib import Path

import psutil
import pytest
import torch
from jobs import run, start

from zsr.graph import Job
from zsr.plan import Plan

pytestmark = pytest.mark.slow


def training(project, rule: str, steps: int) -> tuple[Plan, Job]:
    """A plan whose model tecoa and whose backbones train so many steps."""
    config = project.config
    for backbone in config["backbones"]:
        backbone["pretrain"]["steps"] = steps if rule == "pretrain" else backbone["pretrain"]["steps"]
    if rule == "finetune":
        next(m for m in config["models"] if m["name"] == "tecoa")["recipe"]["epochs"] = steps / 4
    plan = Plan(config)
    return plan, next(job for job in plan.jobs.values() if job.rule == rule)


def logged(folder: Path) -> int:
    return max([part.read_text(encoding="utf-8").count("\n") for part in folder.glob("..train.jsonl.part.*")] or [0])


def stop_after(project, plan: Plan, job: Job, steps: int) -> tuple[float, int, str]:
    """SIGTERM when so many steps are logged: seconds until it has ended, exit code, words.

    Seconds by the clock or of the processor, whichever is less: other work on the machine is not the job's fault.
    """
    before = processor_seconds()
    folder = project.folder / plan.results / Path(job.record).parent
    process = start(project, plan, job)
    end = time.monotonic() + 300
    while logged(folder) < steps:
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
        time.sleep(0.01)
    asked, used = time.monotonic(), sum(psutil.Process(process.pid).cpu_times()[:2])
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    return min(time.monotonic() - asked, processor_seconds() - before - used), process.returncode, said


def processor_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("rule", ["pretrain", "finetune"])
def test_sigterm_saves_within_ten_seconds(copy, rule):
    plan, job = training(copy, rule, 4000)
    checkpoint = plan.results / Path(job.record).with_name("last.ckpt")
    folder = (copy.folder / checkpoint).parent
    saved = []
    for steps in (3, 8):
        seconds, code, said = stop_after(copy, plan, job, steps)
        assert seconds < 10
        assert code == 1 and f"stopped by a signal; {checkpoint} is saved" in said and "Traceback" not in said
        saved.append(torch.load(folder / "last.ckpt", weights_only=True)["state"]["step"])
    assert saved[0] >= 3 and saved[1] > saved[0]
    assert f"last.ckpt: goes on from step {saved[0]}" in said


@pytest.mark.parametrize("rule", ["pretrain", "finetune"])
def test_a_failure_after_the_last_step_loses_no_line_of_the_log(copy, rule):
    plan, job = training(copy, rule, 40)
    folder = copy.folder / plan.results / Path(job.record).parent
    stop_after(copy, plan, job, 3)
    (folder / ".weights.safetensors.part").mkdir()  # the weights cannot be written
    code, said = run(copy, plan, job)
    assert code == 1 and "Traceback" not in said
    assert (folder / "last.ckpt").exists()
    (folder / ".weights.safetensors.part").rmdir()
    code, said = run(copy, plan, job)
    assert code == 0, said
    assert "goes on from step" in said
    assert [json.loads(line)["step"] for line in (folder / "train.jsonl").open(encoding="utf-8")] == list(range(40))

"""Trainings that are stopped: a signal, a failure at the very end; and where they go on."""

import json
from pathlib import Path

import pytest
import torch
from support.jobs import run
from support.stopping import stop_after

from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan

pytestmark = pytest.mark.slow


def training(project, rule: str, steps: int) -> tuple[Plan, PlannedJob]:
    """A plan whose model tecoa and whose backbones train so many steps."""
    config = project.config
    for backbone in config["backbones"]:
        backbone["pretrain"]["steps"] = steps if rule == "pretrain" else backbone["pretrain"]["steps"]
    if rule == "finetune":
        next(m for m in config["models"] if m["name"] == "tecoa")["recipe"]["epochs"] = steps / 4
    plan = Plan(config)
    return plan, next(job for job in plan.jobs.values() if job.rule == rule)


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

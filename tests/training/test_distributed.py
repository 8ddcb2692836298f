"""Several processes, one training: the weights of one process with the same batch, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.method_setting import make_source, make_task, norm_tower
from support.project import ROOT
from torch import Tensor

from zsr import registry
from zsr.config.complete import complete
from zsr.errors import ZsrError
from zsr.methods.core.processes import ONE_PROCESS, Processes
from zsr.training import fine_tune
from zsr.training.checkpoint import Checkpoint
from zsr.training.distributed import FollowerCheckpoint, training_processes
from zsr.training.recipe import Recipe

torch.set_num_threads(1)

# every way in which a loss can look across its batch, and losses that do not; all on a tower with BatchNorm
CASES = {
    "tecoa": {},
    "trades": {},
    "ft-clean": {},
    "ft-adv": {},
    "imgcoadv": {},
    "pmg-aft": {"variant": "code"},
}
STEPS = 6


def fit(group: Processes, name: str, folder: Path, stop_after: int = 0) -> tuple[dict[str, Tensor], list[dict]]:
    """Train the tiny student; rank 0 may be stopped as by a scheduler's signal."""
    task = make_task(norm_tower, moved=False, processes=group)
    checkpoint = (FollowerCheckpoint if group.rank else Checkpoint)(folder / "last.ckpt", name)
    rows = []

    def log(row: dict) -> None:
        rows.append(row)
        checkpoint.asked_to_stop = row["step"] + 1 == stop_after

    method = registry.load("methods", name)(**CASES[name])
    recipe = Recipe(epochs=2, batch=8, lr=0.02, warmup=1, clip=5.0)
    source = make_source(count=STEPS * 4)
    fine_tune.fine_tune(method, task, source, recipe, device="cpu", checkpoint=checkpoint, log=log)
    assert len(rows) <= STEPS
    return task.visual.state_dict(), rows


def fit_all(group: Processes, folder: Path) -> dict[str, tuple[dict[str, Tensor], list[dict]]]:
    """All cases in one group: starting a process costs more than a training here."""
    return {name: fit(group, name, folder) for name in CASES}


def fit_one(group: Processes, folder: Path, stop_after: int = 0) -> dict[str, Tensor]:
    """One case, to be interrupted; a child has no say in that."""
    return fit(group, "tecoa", folder, 0 if group.rank else stop_after)[0]


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> dict:
    """The trainings of two processes."""
    folder = tmp_path_factory.mktemp("pair")
    with training_processes(2, "cpu", fit_all, folder) as group:
        assert (group.rank, group.size) == (0, 2)
        return fit_all(group, folder)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one(name, pair, tmp_path):
    weights, rows = fit(ONE_PROCESS, name, tmp_path)
    start = make_task(norm_tower, moved=False).visual.state_dict()
    for key, value in weights.items():
        moved = (value - start[key]).abs().max().item()
        assert moved > 0, key
        torch.testing.assert_close(pair[name][0][key], value, rtol=1e-4, atol=2e-3 * moved)
    for ours, alone in zip(pair[name][1], rows, strict=True):
        assert ours == pytest.approx(alone, rel=1e-3, abs=1e-5)


def test_the_cases_would_show_a_loss_that_sees_its_part_alone(pair, tmp_path, monkeypatch):
    """Half of each batch, without the other: another training by far."""
    monkeypatch.setattr(Processes, "part_of_batch", lambda self, chosen: chosen[: len(chosen) // 2])
    weights, _ = fit(ONE_PROCESS, "tecoa", tmp_path)
    assert not torch.allclose(weights["4.weight"], pair["tecoa"][0]["4.weight"], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_interrupted_and_resumed_by_two_processes(pair, tmp_path):
    with pytest.raises(ZsrError, match="stopped by a signal"), training_processes(2, "cpu", fit_one, tmp_path) as group:
        fit_one(group, tmp_path, stop_after=4)
    assert (tmp_path / "last.ckpt").exists()
    with training_processes(2, "cpu", fit_one, tmp_path) as group:
        resumed = fit_one(group, tmp_path)
    assert resumed.keys() == pair["tecoa"][0].keys()
    assert all(torch.equal(value, pair["tecoa"][0][key]) for key, value in resumed.items())


def fall(group: Processes) -> None:
    """A child that cannot go on."""
    raise ZsrError("the disk of this process is full")


@pytest.mark.slow
def test_a_child_that_falls_is_named():
    with pytest.raises(ZsrError, match=r"process 1 of the training ended: .*disk of this process is full"):  # noqa: SIM117
        with training_processes(2, "cpu", fall) as group:
            group.mean(torch.tensor(1.0))


ORPHANS = """
import sys, time
from pathlib import Path
from zsr.training.distributed import training_processes

def wait(group):
    import os
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    with training_processes(2, "cpu", wait):
        time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_children_end_with_their_parent_however_it_ends(tmp_path):
    script, note = tmp_path / "orphans.py", tmp_path / "pid"
    script.write_text(ORPHANS, encoding="utf-8")
    root = str(ROOT)
    parent = subprocess.Popen([sys.executable, script, note], env={**os.environ, "PYTHONPATH": root})
    try:
        deadline = time.monotonic() + 60
        while not (note.exists() and note.read_text(encoding="utf-8")) and time.monotonic() < deadline:
            time.sleep(0.1)
        child = int(note.read_text(encoding="utf-8"))
        os.kill(child, signal.SIGTERM)  # not its own affair
        time.sleep(0.2)
        assert running(child)
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 20
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(child)


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_unequal_parts_are_refused(mini):
    mini["finetune"]["processes"] = 3
    with pytest.raises(ZsrError, match=r"finetune.processes: a batch of 64 cannot be split into 3 equal parts"):
        complete(mini)
    mini["finetune"]["processes"] = 1
    mini["models"][1]["recipe"]["processes"] = 0
    with pytest.raises(ZsrError, match=r"models\[1\].*processes: 0 is not above 0"):
        complete(mini)
    from zsr.training.distributed import DistributedProcesses

    assert np.array_equal(DistributedProcesses(1, 2).part_of_batch(np.arange(8)), [4, 5, 6, 7])
    with pytest.raises(ZsrError, match="a batch of 7"):
        DistributedProcesses(0, 2).part_of_batch(np.arange(7))


def test_alone_is_the_identity():
    value = torch.randn(3, requires_grad=True)
    assert ONE_PROCESS.gather(value) is value


def test_a_job_of_two_processes(copy):
    """The whole job by its rule, a ViT with AdamW: the steps of one process, to what sums in another order differ by.

    Losses are compared, not weights: some gradients are zero but for rounding (the keys' biases of attention), and
    AdamW makes whole steps of their sign.
    """
    config = copy.config
    folder = copy.path("results/models/vit.tecoa.s0")
    alone = steps(folder)
    config["models"][1]["recipe"]["processes"] = 2
    copy.configure(config)
    copy.snakemake("results/models/vit.tecoa.s0/manifest.json")
    both = steps(folder)
    assert both != alone, "the job ran anew"
    assert len(both) == len(alone) == 4
    for ours, theirs in zip(both, alone, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3)


def steps(folder: Path) -> list[dict]:
    """The training log."""
    return [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]

"""Cards are given out one by one, by locks that die with their process; without a GPU, on a list of names."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.project import ROOT

from zsr.errors import ZsrError
from zsr.jobs import gpu_locks

# takes a card, writes down [card, from, until] and ends as it is told
JOB = """
import json, os, sys, time
from zsr.jobs import gpu_locks
share, hold, out = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
(card,) = gpu_locks.take(share=share, every=0.01)
assert os.environ["CUDA_VISIBLE_DEVICES"] == card
assert "torch" not in sys.modules
start = time.monotonic()
with open(out + ".tmp", "w") as file: json.dump([card, start], file)
os.rename(out + ".tmp", out)
time.sleep(hold)
with open(out, "a") as file: file.write(" " + json.dumps(time.monotonic()))
"""


@pytest.fixture
def locks(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("ZSR_GPUS", "0,1,GPU-7/x")
    monkeypatch.setenv("ZSR_GPU_LOCKS", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def job(out: Path, share: int, hold: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(share), str(hold), str(out)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def read(path: Path) -> tuple[str, float, float]:
    text = path.read_text(encoding="utf-8")
    (card, start), place = json.JSONDecoder().raw_decode(text)
    return card, start, float(text[place:])


@pytest.mark.parametrize(("share", "jobs"), [(1, 24), (3, 24)])
def test_many_race_and_no_card_has_more_than_it_may(locks, share, jobs):
    running = [job(locks / f"job-{i}", share, 0.15) for i in range(jobs)]
    assert [each.wait(60) for each in running] == [0] * jobs
    spans = [read(locks / f"job-{i}") for i in range(jobs)]
    most = {}
    for card, start, _ in spans:
        together = sum(c == card and s <= start < e for c, s, e in spans)
        most[card] = max(most.get(card, 0), together)
    assert set(most) == {"0", "1", "GPU-7/x"}, "every card is used"
    assert max(most.values()) <= share


def test_a_killed_process_gives_its_card_back(locks, monkeypatch):
    monkeypatch.setenv("ZSR_GPUS", "0")
    first = job(locks / "first", 1, 60)
    end = time.monotonic() + 30
    while not (locks / "first").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    second = job(locks / "second", 1, 0)
    time.sleep(0.5)
    assert not (locks / "second").exists(), "the only card is taken"
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert second.wait(30) == 0


def test_a_training_and_cells_exclude_each_other(locks, monkeypatch):
    monkeypatch.setenv("ZSR_GPUS", "0,1")
    one = gpu_locks._lock_shared("0", 2)
    two = gpu_locks._lock_shared("0", 2)
    assert one and two and not gpu_locks._lock_shared("0", 2), "two places, no third"
    assert not gpu_locks._lock_whole("0")
    assert gpu_locks._try(["0", "1"], 1, 1) == ["1"], "a whole card for a training"
    assert not gpu_locks._lock_shared("1", 2)
    gpu_locks._drop(gpu_locks.held)
    gpu_locks.held.clear()
    assert not gpu_locks._try(["0", "1"], 2, 1), "both or none"
    gpu_locks._drop(one + two)
    assert gpu_locks._try(["0", "1"], 2, 1) == ["0", "1"]
    gpu_locks._drop(gpu_locks.held)
    gpu_locks.held.clear()


def test_who_says_which_cards_there_are(locks, monkeypatch):
    assert gpu_locks.known_cards() == ["0", "1", "GPU-7/x"]
    monkeypatch.delenv("ZSR_GPUS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert gpu_locks.known_cards() == ["2", "3"]
    with pytest.raises(ZsrError, match="needs 3 GPUs, there are 2"):
        gpu_locks.take(count=3)
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert gpu_locks.take(count=3) == [], "SLURM has chosen"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2, 3"

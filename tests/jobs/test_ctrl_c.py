"""Ctrl-C: a few lines on the terminal, trainings saved, temporary files removed, and the next run goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from support.jobs import run, start
from support.project import ROOT, Project
from support.waiting import wait_for

from zsr.hashing import file_digest
from zsr.jobs.ctrl_c import titles
from zsr.plan.plan import Plan

WEIGHTS = "results/backbones/rn/weights.safetensors"


def longer(project: Project, steps: int) -> None:
    """The first backbone trains so many steps."""
    config = project.config
    config["backbones"][0]["pretrain"]["steps"] = steps
    project.configure(config)


class Terminal:
    """Snakemake as a terminal starts it: in a process group of its own, which hears Ctrl-C as a whole."""

    def __init__(self, project: Project) -> None:
        self.said = project.path("terminal.txt")
        with self.said.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--cores", "2", WEIGHTS], cwd=project.folder,
                stdout=file, stderr=file, start_new_session=True, env={**os.environ, "PYTHONPATH": str(project.folder)},
            )  # fmt: skip
        log = project.path(WEIGHTS).parent
        wait_for(lambda: any(part.stat().st_size > 2000 for part in log.glob("..train.jsonl.part.*")))
        self.before = self.said.stat().st_size
        self.jobs = psutil.Process(self.process.pid).children(recursive=True)
        assert self.jobs

    def press(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> list[str]:
        """The lines after Ctrl-C, once Snakemake and its jobs have ended."""
        assert self.process.wait(60) == 1
        wait_for(lambda: not any(job.is_running() for job in self.jobs), 20)
        return self.said.read_text(encoding="utf-8")[self.before :].strip().splitlines()


@pytest.mark.slow
def test_ctrl_c_saves_in_a_few_lines_and_the_next_run_goes_on(copy, tmp_path):
    longer(copy, 200)
    terminal = Terminal(copy)
    terminal.press()
    lines = terminal.end()
    assert len(lines) == 3, lines
    assert lines[0].startswith("zsr: stopping pretrain rn; trainings save first, and the same command goes on")
    saved = "results/backbones/rn/last.ckpt"
    assert lines[1] == f"zsr: stopped by a signal; {saved} is saved, the next run goes on from it"
    assert lines[2].startswith("Complete log(s): ")
    log = copy.path("results/logs/pretrain/backbones/rn.log")
    assert "Traceback" not in log.read_text(encoding="utf-8")
    assert sorted(path.name for path in copy.path(saved).parent.glob(".*")) == [part_of_the_log(copy)]
    copy.snakemake(WEIGHTS)
    assert "last.ckpt: goes on from step" in log.read_text(encoding="utf-8")
    plan = Plan(copy.config)
    code, said = run(copy, plan, plan.graph.job("pretrain", {"backbone": "rn"}), tmp_path)  # undisturbed
    assert code == 0 and file_digest(tmp_path / "backbones/rn/weights.safetensors") == file_digest(
        copy.path(WEIGHTS)
    ), said


def part_of_the_log(project: Project) -> str:
    """The log of an unfinished training is kept, as its checkpoint is."""
    (part,) = project.path(WEIGHTS).parent.glob("..train.jsonl.part.*")
    return part.name


@pytest.mark.slow
def test_a_signal_to_snakemake_alone_ends_the_jobs_too(copy):
    longer(copy, 100_000)
    terminal = Terminal(copy)
    terminal.process.send_signal(signal.SIGINT)
    lines = terminal.end()
    assert len(lines) == 3 and "last.ckpt is saved" in lines[1]


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(copy):
    longer(copy, 100_000)
    terminal = Terminal(copy)
    for job in terminal.jobs:
        job.suspend()  # a step that takes hours: the job does not come to save
    terminal.press()
    time.sleep(1)
    assert terminal.process.poll() is None  # it waits for the training
    terminal.press()
    lines = terminal.end()
    assert len(lines) == 2 and "again: stop without saving" in lines[0]
    assert not copy.path("results/backbones/rn/last.ckpt").exists()


# what makes a job last for long
LONG = {
    "evaluate": lambda config: config["protocols"][0]["attacks"][0].update(steps=1_000_000),
    "prepare": lambda config: config["data"][0]["splits"].update(train=2_000_000),
    "finetune": lambda config: config["models"][1]["recipe"].update(epochs=10_000),
    "processes": lambda config: config["models"][1]["recipe"].update(epochs=10_000, processes=2),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number"),
    [*((kind, signal.SIGINT) for kind in LONG), ("evaluate", signal.SIGTERM), ("finetune", signal.SIGHUP)],
)
def test_a_job_by_itself_ends_in_one_line_without_temporary_files(copy, kind, number):
    """All its processes hear the signal, at once or when the work has begun."""
    config = copy.config
    LONG[kind](config)
    plan = Plan(config)
    job = next(job for job in plan.jobs.values() if job.rule == ("finetune" if kind == "processes" else kind))
    folder = copy.folder / plan.results / Path(job.record).parent
    process = start(copy, plan, job, start_new_session=True)
    trains = job.rule == "finetune"
    if trains:
        wait_for(lambda: any(part.stat().st_size > 300 for part in folder.glob("..train.jsonl.part.*")))
    else:
        wait_for(lambda: hears(process.pid, signal.SIGHUP))
        time.sleep(2)
    assert process.poll() is None, process.communicate()[0]
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in said, said
    (line,) = (line for line in said.splitlines() if line.startswith("zsr: "))
    assert line.startswith("zsr: stopped by a signal; ") and ("last.ckpt is saved" in line) == trains
    assert (folder / "last.ckpt").exists() == trains
    left = {path.name for path in folder.glob(".*") if "train.jsonl" not in path.name}
    assert not left


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_processes_that_have_just_started_end_too(copy, number):
    """While the others still import: nobody waits for a process that has gone."""
    config = copy.config
    LONG["processes"](config)
    plan = Plan(config)
    job = next(job for job in plan.jobs.values() if job.rule == "finetune")
    process = start(copy, plan, job, start_new_session=True)
    wait_for(lambda: len(psutil.Process(process.pid).children()) == 2)  # the other rank, and a tracker of resources
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in said and "zsr: stopped by a signal; " in said, said


def hears(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_ignored_signals_stay_ignored():
    code = (
        "import signal; from zsr.jobs.stopping import interrupt, on_stop\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "on_stop(interrupt)\n"
        "assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and signal.getsignal(signal.SIGTERM) == interrupt"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def running(count: int) -> list:
    """Jobs as Snakemake's scheduler has them."""
    return [
        SimpleNamespace(rule=SimpleNamespace(name="evaluate"), wildcards=[f"m{i}", "digits"], is_group=lambda: False)
        for i in range(count)
    ]


def test_the_line_names_a_few_jobs_and_counts_the_others():
    assert titles(running(1)) == "evaluate m0 digits"
    assert titles(running(5)) == "evaluate m0 digits, evaluate m1 digits, evaluate m2 digits and 2 more"
    assert titles([]) == "before any job runs"

"""One run at a time in a results folder, from whichever working directory it starts."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import ROOT, Project, refused

from zsr.storage import run_lock

HOLD = """
import sys, time
from pathlib import Path
from zsr.storage import run_lock
run_lock.take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
TARGET = "data/drawn-colour/test/native/manifest.json"


def text(results: Path) -> str:
    return (results / run_lock.NAME).read_text(encoding="utf-8")


def write(results: Path, **changed) -> None:
    """A lock's text, of a run that did not end in order."""
    holder = {"host": socket.gethostname(), "pid": 1, "folder": "/elsewhere", "since": "yesterday"} | changed
    results.mkdir(exist_ok=True)
    (results / run_lock.NAME).write_text(json.dumps(holder), encoding="utf-8")


def other(results: Path, seconds: float = 60) -> subprocess.Popen:
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, results, str(seconds)], cwd=results.parent, text=True, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "results"
    run_lock.release(tmp_path / "results")


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def flock(file: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_the_lock_says_who_holds_it(results):
    with run_lock.holding(results):
        holder = json.loads(text(results))
        assert (holder["host"], holder["pid"]) == (socket.gethostname(), os.getpid())
        assert holder["folder"] == os.getcwd() and holder["since"].startswith("20")
    assert text(results) == ""


def test_a_second_process_is_refused_until_the_first_ends(results):
    process = other(results, seconds=1)
    here = f"process {process.pid} on {socket.gethostname()}, started in {results.parent} at 20"
    with refused(rf"results: another run works in this folder \({here}.*; wait until it ends"):
        run_lock.take(results)
    assert process.wait(30) == 0
    assert text(results) == "", "a process that ends releases its lock"
    run_lock.take(results)


def test_a_lock_whose_holder_was_killed_is_taken_over(results):
    process = other(results)
    process.kill()
    process.wait()
    assert f'"pid": {process.pid}' in text(results)
    run_lock.take(results)
    assert f'"pid": {os.getpid()}' in text(results)


def test_a_lock_of_another_machine_is_refused_with_the_cure(results):
    write(results, host="node7", pid=os.getpid())
    with refused(rf"process {os.getpid()} on node7, .*; if that run has ended, remove .*/results/\.run\.lock"):
        run_lock.take(results)
    (results / run_lock.NAME).unlink()
    run_lock.take(results)


def test_without_flock_the_process_id_tells(results, no_flock):
    write(results, pid=os.getppid())
    with refused(f"another run works in this folder .process {os.getppid()} on"):
        run_lock.take(results)
    ended = subprocess.Popen(["true"])
    ended.wait()
    write(results, pid=ended.pid)
    run_lock.take(results)


@pytest.mark.parametrize("left", ["", "{", '{"host": 1}', "[]"])
def test_a_text_that_says_nothing_holds_nothing(results, left):
    results.mkdir()
    (results / run_lock.NAME).write_text(left, encoding="utf-8")
    run_lock.take(results)


def test_one_process_holds_a_folder_once(results):
    run_lock.take(results)
    run_lock.take(results)
    run_lock.release(results)
    other(results, seconds=0).wait(30)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with refused("no run can start without this lock"):
        run_lock.take(tmp_path / "file" / "results")


@pytest.fixture
def shared(project: Project, tmp_path: Path) -> Path:
    """A results folder outside of the project, as two working directories can name it."""
    project.configure(project.config | {"results": str(tmp_path / "shared")})
    return tmp_path / "shared"


@pytest.mark.slow
def test_a_second_snakemake_is_refused_before_anything_runs(project, shared):
    process = other(shared)
    target = str(shared / TARGET)
    said = project.snakemake(target, code=1)
    assert f"another run works in this folder (process {process.pid} on" in said and "Traceback" not in said
    assert not (shared / TARGET).exists()
    assert "prepare" in project.snakemake("-n", target), "a dry run needs no lock"
    project.snakemake(target, "--no-hooks", "--nolock")  # as Snakemake starts the jobs of a cluster
    assert (shared / TARGET).exists()
    process.kill()
    process.wait()
    (shared / TARGET).unlink()
    project.snakemake(target)
    assert (shared / TARGET).exists()
    assert text(shared) == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_releases_the_folder(project, shared, number):
    project.path("workflow/scripts/prepare.py").write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    running = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", str(shared / TARGET)], cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(project.folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not ((shared / run_lock.NAME).exists() and text(shared)):
            assert running.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        assert json.loads(text(shared))["pid"] == running.pid
        os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
        assert running.wait(120) != 0
    finally:
        running.kill()
        running.wait()
    assert text(shared) == ""

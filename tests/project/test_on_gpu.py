"""`benchmarks/on_gpu.py`, which gets minutes on a GPU and must not waste them: tried whole at tiny sizes on a CPU.

In an environment with the packages of a bare GPU machine alone, with the packages that `gpu_wheels.sh` collects; and,
part by part, what is done on a GPU alone, on a CPU that pretends to be one.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import on_gpu
import pytest
from gpu.questions import QUESTIONS
from gpu.rows import WHOLE_CASE, read
from support import bare_environment
from support.project import ROOT, needs_triton

WHEELS = ("open_clip_torch", "pyautoattack", "torchattacks")
COPIED = ("benchmarks", "zsr", "zsr_kernels", "tests/support/kernel_cases.py", "requirements.lock")
PARTS = tuple(on_gpu.PARTS)
HANGS = '''"""Writes a row, starts a process, and hangs."""
import subprocess, sys, time

def run(bench):
    bench.row("device copy", "torch", 1.0, "GB/s")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("started", other.pid, flush=True)
    time.sleep(600)
'''
FAILS = '''"""One case fails, the next runs."""

def run(bench):
    bench.case("device copy", lambda: 1 / 0)
    samples = [1.0, 2.0, 3.0]
    bench.case("matrix product, fp16", lambda: bench.row("matrix product, fp16", "torch", 2.0, "TFLOP/s", samples))
'''


def checkout(folder: Path) -> Path:
    """What the command needs of a checkout."""
    for name in COPIED:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)
    return folder


def start(folder: Path, *arguments: str, python: Path = Path(sys.executable)) -> subprocess.Popen:
    """The command in a copy of the project, without the variables by which Python would find this one."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [str(python), str(folder / "benchmarks" / "on_gpu.py"), "--device", "cpu", "--tiny", "--minutes", "60"]
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        cwd=folder.parent,
    )  # fmt: skip


def run(folder: Path, *arguments: str, python: Path = Path(sys.executable), status: int = 0) -> str:
    process = start(folder, *arguments, python=python)
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == status, output
    return output


# -- the whole command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> tuple[Path, str]:
    """(the out folder of a run in the bare environment, its output)"""
    base = tmp_path_factory.mktemp("bare")
    folder, wheels = checkout(base / "checkout"), base / "wheels"
    wheels.mkdir()
    for name in WHEELS:
        bare_environment.repack(name, wheels)
    # pip takes the packages from a folder: what is downloaded elsewhere is made here from what is installed
    offline = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    script = folder / "benchmarks" / "gpu_wheels.sh"
    listed = subprocess.run([script, sys.executable], env=offline, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    python = bare_environment.make(base / "environment")
    return base / "out", listed.stdout + run(folder, "--out", str(base / "out"), python=python)


@pytest.fixture(scope="module")
def rows(bare) -> list[dict]:
    return read([bare[0] / "rows.jsonl"])


@pytest.mark.slow
@needs_triton
def test_every_part_runs_in_the_bare_environment(bare, rows):
    out, output = bare
    assert [row for row in rows if "error" in row] == [], (out / "log.txt").read_text(encoding="utf-8")[-3000:]
    assert tuple(dict.fromkeys(row["part"] for row in rows)) == PARTS
    assert {path.name for path in out.iterdir()} == {"rows.jsonl", "log.txt"}, "few files come back from a lent machine"
    table = output[output.index("A TINY RUN") :]
    assert len(table) < 10_000
    assert "not measured" not in table


@pytest.mark.slow
@needs_triton
def test_the_bare_environment_is_bare(bare):
    python = bare[0].parent / "environment" / "bin" / "python"
    code = f"import importlib.util as u, torch, timm; print([n for n in {bare_environment.ABSENT} if u.find_spec(n)])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=bare[0])
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
@needs_triton
def test_the_wheels_are_few_and_small(bare):
    found = {name: int(size) for size, name in re.findall(r"^ *(\d+) kB +(.*)$", bare[1], re.MULTILINE)}
    assert len(found) == len(WHEELS) + 1
    assert found[".gpu-wheels"] < 10_000, "pyautoattack's example weights are left out"


@pytest.mark.slow
@needs_triton
def test_every_row_answers_a_question_and_every_question_has_rows(rows):
    for row in rows:
        assert row["unit"] == WHOLE_CASE or any(question.uses(row) for question in QUESTIONS), f"no question uses {row}"
    for question in QUESTIONS:
        assert bool(question.answer(rows)) != question.cuda, question.text


@pytest.mark.slow
@needs_triton
def test_what_a_gpu_alone_does(tmp_path):
    """Precisions, graphs, limits of memory: every branch runs, and answers what a CPU leaves open."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
    command = [sys.executable, str(ROOT / "tests" / "support" / "pretended_gpu.py"), str(tmp_path), *PARTS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = read([tmp_path / "rows.jsonl"])
    assert all(row["unit"] == WHOLE_CASE or any(q.uses(row) for q in QUESTIONS) for row in found)
    open_questions = {question.text for question in QUESTIONS if not question.answer(found)}
    assert open_questions <= {"out-of-bounds accesses, by compute-sanitizer"}


def test_every_part_has_a_file_and_time():
    files = {path.stem for path in (ROOT / "benchmarks" / "gpu" / "parts").glob("*.py")} - {"__init__"}
    assert files == set(PARTS)
    assert sum(part.expected for part in on_gpu.PARTS.values()) < 9 * 60 - on_gpu.RESERVE
    assert all(part.expected < part.limit for part in on_gpu.PARTS.values())


# -- time, faults, resuming -------------------------------------------------------------------------------------------


def replaced(folder: Path, code: str, limit: int = 60) -> Path:
    """A copy whose part `copy` is another, with another time limit."""
    checkout(folder)
    (folder / "benchmarks" / "gpu" / "parts" / "copy.py").write_text(code, encoding="utf-8")
    script = folder / "benchmarks" / "on_gpu.py"
    text, count = re.subn(
        r'"copy": Part\((\d+), \d+\)', rf'"copy": Part(\1, {limit})', script.read_text(encoding="utf-8")
    )
    assert count == 1
    script.write_text(text, encoding="utf-8")
    return folder


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def child_of(out: Path) -> int:
    return int(re.search(r"started (\d+)", (out / "log.txt").read_text(encoding="utf-8"))[1])


@pytest.mark.slow
def test_a_hanging_part_is_killed_and_the_next_one_runs(tmp_path):
    folder, out = replaced(tmp_path / "checkout", HANGS, limit=12), tmp_path / "out"  # a tiny run gets five times that
    output = run(folder, "--only", "copy", "memory", "--out", str(out), status=1)
    found = read([out / "rows.jsonl"])
    assert [row["value"] for row in found if row["part"] == "copy"] == [1.0, None], "what it had measured is kept"
    assert re.fullmatch(r"killed after \d+ s", found[1]["error"])
    assert {row["side"] for row in found if row["part"] == "memory"} == {"ours", "torchattacks", ""}
    assert "copy | not measured: the whole part, or its rest: killed after" in output
    wait_until(lambda: not is_alive(child_of(out)))


@pytest.mark.slow
def test_a_failed_case_does_not_stop_the_part(tmp_path):
    folder, out = replaced(tmp_path / "checkout", FAILS), tmp_path / "out"
    output = run(folder, "--only", "copy", "--out", str(out), status=1)
    failed, measured, whole, ended = read([out / "rows.jsonl"])
    assert failed["error"] == "ZeroDivisionError: division by zero" and failed["case"] == "device copy"
    assert (measured["value"], measured["n"], measured["median"], measured["spread"]) == (2.0, 3, 2.0, 0.6)
    assert (whole["case"], whole["unit"]) == ("matrix product, fp16", WHOLE_CASE)
    assert "ended with status 1" in ended["error"]
    assert "device copy: ZeroDivisionError" in output
    assert "Traceback" in (out / "log.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sigterm_prints_the_table(tmp_path):
    folder, out = replaced(tmp_path / "checkout", HANGS), tmp_path / "out"
    process = start(folder, "--only", "copy", "memory", "--out", str(out))
    wait_until(lambda: (out / "log.txt").exists() and "started" in (out / "log.txt").read_text(encoding="utf-8"))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert re.search(r"copy \| copy on the device.*\| 1$", output, re.MULTILINE)
    wait_until(lambda: not is_alive(child_of(out)))


@pytest.mark.slow
def test_a_resumed_run_skips_finished_cases(tmp_path):
    folder, first, second = checkout(tmp_path / "checkout"), tmp_path / "first", tmp_path / "second"
    run(folder, "--only", "copy", "--out", str(first))
    lines = (first / "rows.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 10, "five cases: a measurement and the end of each"
    (first / "rows.jsonl").write_text(
        "".join(lines[:5]) + lines[5][:40], encoding="utf-8"
    )  # the third case is not ended: a row cut off
    output = run(folder, "--only", "copy", "--resume", str(first), "--out", str(second))
    rest = [f"matrix product, {precision}" for precision in ("bf16", "tf32", "fp32")]
    assert list(dict.fromkeys(row["case"] for row in read([second / "rows.jsonl"]))) == rest
    assert output.count("product of 8192² matrices") == 4, "the table has both runs"
    run(folder, "--only", "copy", "--resume", str(first), "--out", str(first))
    ended = [row["case"] for row in read([first / "rows.jsonl"]) if row["unit"] == WHOLE_CASE]
    assert ended == ["device copy", "matrix product, fp16", *rest]


def test_rows_are_neither_mixed_nor_lost(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "on_gpu.py"), "--device", "cpu", "--tiny"]
    done = subprocess.run([*command, "--out", str(tmp_path), "--resume", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2 and "nowhere/rows.jsonl does not exist" in done.stderr
    (tmp_path / "rows.jsonl").touch()
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2 and "has rows already" in done.stderr


@pytest.mark.slow
def test_a_part_that_does_not_fit_is_not_started(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "on_gpu.py"), "--device", "cpu", "--only", "pgd"]
    done = subprocess.run([*command, "--minutes", "0.5", "--out", str(tmp_path)], capture_output=True)
    assert done.returncode == 0
    (row,) = read([tmp_path / "rows.jsonl"])
    assert re.fullmatch(r"not started: \d+ s needed, 1[45] s left", row["error"])


@pytest.mark.parametrize("driver", [None, "echo 'NVIDIA-SMI has failed'; exit 9"])
def test_without_a_driver_nothing_is_started(driver, tmp_path):
    if driver:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{driver}\n", encoding="utf-8")
        (tmp_path / "nvidia-smi").chmod(0o755)
    command = [sys.executable, str(ROOT / "benchmarks" / "on_gpu.py"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": f"{tmp_path}:/bin"})
    assert done.returncode == 1
    assert done.stderr.startswith("no NVIDIA driver found") and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_torch_that_sees_no_gpu_stops_the_command(tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 580.1\n", encoding="utf-8")
    (tmp_path / "nvidia-smi").chmod(0o755)
    hidden = {"PATH": f"{tmp_path}:/bin", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(ROOT / "benchmarks" / "on_gpu.py"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **hidden})
    assert done.returncode == 1 and "torch sees no GPU" in done.stderr
    assert (tmp_path / "out" / "log.txt").read_text(encoding="utf-8").count("---") == 1, (
        "the other parts would fail too"
    )


def test_the_parent_imports_no_torch():
    code = "import sys; import on_gpu, gpu_log; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "benchmarks").returncode == 0

"""`benchmarks/on_gpu.py`, which gets minutes on a GPU and must not waste them: tried whole at tiny sizes on a CPU.

In an environment with the packages of a bare GPU machine alone, with the packages that `gpu_wheels.sh` collects; and,
part by part, what is done on a GPU alone, on a CPU that pretends to be one.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import bare_environment
from support.project import ROOT, needs_triton

sys.path.append(str(ROOT / "benchmarks"))
import gpu_log
import on_gpu
from gpu.questions import QUESTIONS
from gpu.rows import WHOLE_CASE, Rows, latest, of_one_machine, read, spread

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
    command = [sys.executable, str(ROOT / "tests" / "pretended_gpu.py"), str(tmp_path), *PARTS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = read([tmp_path / "rows.jsonl"])
    assert all(row["unit"] == WHOLE_CASE or any(q.uses(row) for q in QUESTIONS) for row in found)
    open_questions = {question.text for question in QUESTIONS if not question.answer(found)}
    assert open_questions <= {"out-of-bounds accesses, by compute-sanitizer"}


def test_every_question_has_a_text_of_its_own_and_a_prediction():
    for question in QUESTIONS:
        assert re.search(r"\d", question.predicted), question.text
        assert question.part in PARTS
        assert "|" not in question.text + question.predicted, "it becomes a cell of a table"
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS)


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


# -- rows, questions, the log -----------------------------------------------------------------------------------------

H100 = {"card": "NVIDIA H100 80GB HBM3", "driver": "580.1", "torch": "2.11.0", "triton": "3.6.0", "tiny": False}


def row(part: str, case: str, side: str, value: float | None, unit: str, **more) -> dict:
    found = {"part": part, "case": case, "side": side, "value": value, "unit": unit}
    return found | H100 | {"date": "2027-01-01"} | more


def test_cases_of_another_card_or_software_are_measured_again(tmp_path):
    earlier = [row("copy", "device copy", "torch", 1.0, "GB/s"), row("copy", "device copy", "", 3.0, WHOLE_CASE)]
    for change in ({}, {"card": "NVIDIA H200"}, {"triton": "3.7.0"}, {"tiny": True}):
        finished = Rows(tmp_path / "rows.jsonl", H100 | change, earlier).finished
        assert finished == (set() if change else {("copy", "device copy")})


def test_a_case_that_was_cut_off_is_measured_again(tmp_path):
    earlier = [row("pgd", "B/32, batch 256", "engine fp16", 1.0, "image-steps/s")]
    assert Rows(tmp_path / "rows.jsonl", H100, earlier).finished == set()


def test_the_table_is_of_one_machine():
    old, new = row("copy", "device copy", "torch", 4.0, "GB/s", card="NVIDIA H200"), row("copy", "a", "b", 1.0, "ms")
    error = row("train", "", "", None, "", error="killed", card="")
    assert of_one_machine([old, error, new]) == [error, new]
    assert of_one_machine([error]) == [error]


def test_nan_is_refused(tmp_path):
    rows = Rows(tmp_path / "rows.jsonl", H100)
    with pytest.raises(ValueError, match="the GB/s is nan"):
        rows.write("copy", "device copy", "torch", float("nan"), "GB/s")
    assert not (tmp_path / "rows.jsonl").exists()


def test_an_error_is_dropped_when_its_case_was_measured_later():
    failed, killed = row("pgd", "a", "", None, "", error="x"), row("pgd", "", "", None, "", error="killed")
    measured = row("pgd", "a", "eager", 2.0, "ms")
    assert latest([failed, killed, measured]) == [measured]
    assert latest([measured, failed, killed]) == [measured, failed, killed]


def test_spread_is_half_of_the_middle_three_fifths():
    assert spread([5.0]) == 0.0
    assert spread([float(k) for k in range(11)]) == 3.0


def test_a_goal_is_compared_with_the_worst_case():
    (question,) = [q for q in QUESTIONS if q.text.startswith("`linf_step`, 256")]
    rows = [row("kernels", f"linf_step, 256 × 3 × 224², {g} gradient", "triton", v, "of the copy")
            for g, v in (("fp16", 0.95), ("fp32", 0.85))]  # fmt: skip
    assert question.answer(rows[:1]) == "0.95: met"
    missed = question.answer(rows)
    assert missed.startswith("0.85 to 0.95 in 2 cases: missed (linf_step, 256 × 3 × 224², fp32 gradient")
    assert question.answer([]) == ""


def test_ratios_are_of_two_rows():
    (question,) = [q for q in QUESTIONS if q.text.startswith("peak memory of CAW")]
    rows = [row("train", f"{name}, batch 128, 1000 classes", "ours", value, "MB")
            for name, value in (("caw", 6.0), ("pmg-aft", 8.0))]  # fmt: skip
    assert question.answer(rows) == "0.75: met"
    (question,) = [q for q in QUESTIONS if q.text.endswith("the authors' time in fp32 over ours in fp16")]
    rows = [row("autoattack", "B/32, 128 images", side, value, "s")
            for side, value in (("pyautoattack fp32", 40.0), ("standard fp16", 8.0))]  # fmt: skip
    assert question.answer(rows) == "5: missed"
    assert question.answer(rows[:1]) == "", "without the other side there is no ratio"


def test_the_log_is_made_of_the_committed_rows():
    page = gpu_log.PAGE.read_text(encoding="utf-8")
    rows = gpu_log.committed()
    assert gpu_log.page(page, rows) == page, "run python benchmarks/gpu_log.py"
    measured = [row for row in rows if "error" not in row and row["unit"] != WHOLE_CASE]
    assert all(any(question.uses(row) for question in QUESTIONS) for row in measured)


def test_a_run_is_stored_under_its_card(tmp_path):
    path, folder = tmp_path / "rows.jsonl", tmp_path / "kept"
    path.write_text(json.dumps(row("copy", "device copy", "torch", 3012.0, "GB/s")) + "\n", encoding="utf-8")
    kept = gpu_log.store_run(path, folder)
    assert kept.name == "nvidia-h100-80gb-hbm3-2027-01-01.jsonl"
    text = gpu_log.table(read([kept]))
    assert "| 3,000 | 3,012 | NVIDIA H100 80GB HBM3, 2027-01-01 |" in text
    assert text.count("| open |") == len(QUESTIONS) - 1
    path.write_text(
        path.read_text(encoding="utf-8") + json.dumps(row("copy", "device copy", "", 3.0, WHOLE_CASE)) + "\n",
        encoding="utf-8",
    )
    assert gpu_log.store_run(path, folder) == kept, "the same run, which has gone on"
    path.write_text(json.dumps(row("copy", "device copy", "torch", 3013.0, "GB/s")) + "\n", encoding="utf-8")
    assert gpu_log.store_run(path, folder).name == "nvidia-h100-80gb-hbm3-2027-01-01-2.jsonl"


@pytest.mark.parametrize("change, reason", [({"tiny": True}, "a tiny run"), ({"driver": ""}, "no row of a GPU")])
def test_rows_without_meaning_are_not_stored(change, reason, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row("copy", "device copy", "torch", 1.0, "GB/s") | change) + "\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=reason):
        gpu_log.store_run(path, tmp_path / "kept")

"""Checks on a GPU that kernels equal the reference, and that the same seed gives the same bits."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch

from gpu import towers
from gpu.bench import Bench
from gpu.ops import OPS, arguments
from gpu.rows import DIFFERENT
from zsr.attacks import attack

CASES = Path(__file__).resolve().parents[3] / "tests" / "support" / "kernel_cases.py"
PROCESSES = 6  # compile side by side
# each kernel once: under compute-sanitizer a case takes many times as long
SANITIZED = ("linf_step_keeps_nan_pixels", "l2_step_guards_a_zero_gradient", "apgd_track_is_bit_equal",
             "start_draws_the_same_numbers", "mean_and_std_may_have_gaps")  # fmt: skip


def run(bench: Bench) -> None:
    bench.case("kernel cases", partial(kernel_cases, bench), seconds=15)
    for name in OPS:
        bench.case(f"large {name}", partial(large_batch, bench, name), seconds=2)
    for name in ("B/32", "L/14", *towers.EMBEDDED):
        for precision in ("fp32", "fp16") if bench.cuda else ("fp32",):
            bench.case(f"same seed, {name} {precision}", partial(same_seed, bench, name, precision), seconds=4)
    bench.case("cached features", partial(cached_features, bench), seconds=2)
    bench.case("memory accesses", partial(sanitizer, bench), seconds=15)


def kernel_cases(bench: Bench) -> None:
    """Every case of tests/support/kernel_cases.py, in a few processes; on a CPU they run in Triton's interpreter."""
    names = re.findall(r"^@case\ndef (\w+)", CASES.read_text(encoding="utf-8"), re.MULTILINE)
    count = bench.size(PROCESSES, 2)
    with ThreadPoolExecutor(count) as pool:
        missing = list(pool.map(partial(kernel_group, bench), (names[k::count] for k in range(count))))
    if any(missing):
        raise RuntimeError(f"a process ended before it ran {', '.join(name for group in missing for name in group)}")


def kernel_group(bench: Bench, names: list[str]) -> list[str]:
    """Run some cases in one process, and write a row for each; returns those that did not run."""
    left = list(names)
    with subprocess.Popen(case_command(bench, names), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("["):
                name, wrong = json.loads(line)
                left.remove(name)
                side = f"{name}, {'compiled' if bench.cuda else 'interpreted'}"
                bench.row(
                    "kernel cases", side, float(bool(wrong)), "failures", **({"note": wrong[:300]} if wrong else {})
                )
    return left


def case_command(bench: Bench, names: list[str]) -> list[str]:
    """The command that runs some cases of tests/support/kernel_cases.py."""
    return [sys.executable, str(CASES), bench.device, *names]


def large_batch(bench: Bench, name: str) -> None:
    """A whole batch: against the reference on this device, and against the reference on the CPU."""
    there = arguments(*bench.size((32, 224), (4, 32)), torch.float32, "cpu")
    here = there.to(bench.device)
    got = OPS[name](here).call("auto")
    sides = {"device's": OPS[name](here).call("reference"), "CPU's": OPS[name](there).call("reference")}
    for whose, wanted in sides.items():
        pairs = zip(got, wanted, strict=True)
        difference = max(float((a.float() - b.to(a.device).float()).abs().max()) for a, b in pairs)
        bench.row(f"large {name}", f"against the {whose} reference", difference, "largest difference")


def same_seed(bench: Bench, name: str, precision: str) -> None:
    """PGD twice: how many pixels differ?"""
    tower = name if name in towers.EMBEDDED else bench.size(name, "tiny")
    model, x = towers.victim(tower, bench.device), towers.images(tower, bench.size(16, 8), bench.device)
    y = towers.predictions(model, x, len(x))
    settings = {"eps": 4 / 255, "steps": bench.size(5, 2), "batch_size": len(x), "precision": precision}
    first, second = (attack(model, x, y, "pgd", verdict="last", **settings).x_adv for _ in range(2))
    bench.row(f"same seed, {name} {precision}", "second run", int((first != second).sum()), DIFFERENT)


def cached_features(bench: Bench) -> None:
    """A training caches the original's features in batches of 256: do batches of other sizes give the same?"""
    name, count = bench.size(("B/32", 256), ("tiny", 16))
    model, x = towers.victim(name, bench.device), towers.images(name, count, bench.device)
    whole = towers.features(model, x, count)
    largest = max(float((towers.features(model, x, size) - whole).norm(dim=1).max()) for size in (8, 100))
    bench.row("cached features", "other batches", largest, "relative difference")


def sanitizer(bench: Bench) -> None:
    """Out-of-bounds accesses, by compute-sanitizer if it is installed."""
    case, tool = "memory accesses", shutil.which("compute-sanitizer")
    if not (bench.cuda and tool):
        why = "compute-sanitizer is not installed" if bench.cuda else "kernels are not compiled on a CPU"
        bench.row(case, "compute-sanitizer", None, "errors", note=f"not run: {why}")
        return
    command = [tool, "--error-exitcode", "99", *case_command(bench, list(SANITIZED))]
    # without PyTorch's caching allocator every tensor is an allocation whose bounds are known
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    limit = max(bench.seconds_left - 3, 1)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=limit)
    print(done.stdout[-4000:], done.stderr[-2000:], flush=True)
    found = re.search(r"ERROR SUMMARY: (\d+) error", done.stdout)
    if not found:
        raise RuntimeError(f"compute-sanitizer ended with status {done.returncode} and without a summary")
    bench.row(case, "compute-sanitizer", int(found[1]), "errors")

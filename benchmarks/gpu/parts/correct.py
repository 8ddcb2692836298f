"""Do the kernels mean on a GPU what the reference means, and does the same seed give the same bits?"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import zsr_kernels
from gpu import towers
from gpu.bench import Bench
from zsr.attacks import Normalized, attack
from zsr_kernels import reference

CASES = Path(__file__).resolve().parents[3] / "tests" / "kernel_cases.py"
PROCESSES = 6  # compile side by side
# each kernel once: what compute-sanitizer looks at takes many times as long
SANITIZED = ("linf_step_keeps_nan_pixels", "l2_step_guards_a_zero_gradient", "apgd_track_is_bit_equal",
             "start_draws_the_same_numbers", "mean_and_std_may_have_gaps")  # fmt: skip


def run(bench: Bench) -> None:
    kernel_cases(bench)
    for name, op in OPS.items():
        with bench.case(f"large {name}", "against the device's reference", "against the CPU's reference") as wanted:
            if wanted:
                large(bench, name, op)
    for name in ("B/32", "L/14", "drawn-vit", "drawn-rn"):
        for precision in ("fp32", "fp16") if bench.cuda else ("fp32",):
            with bench.case(f"same seed, {name} {precision}", "second run") as wanted:
                if wanted:
                    same_seed(bench, name, precision)
    with bench.case("remembered features", "other batches") as wanted:
        if wanted:
            remembered(bench)
    sanitizer(bench)


def kernel_cases(bench: Bench) -> None:
    """Every case of tests/kernel_cases.py, in a few processes; on a CPU they run in Triton's interpreter."""
    side = "compiled" if bench.cuda else "interpreted"
    names = re.findall(r"^@case\ndef (\w+)", CASES.read_text(), re.MULTILINE)
    names = [name for name in names if not bench.rows.has(bench.part, name, [side])]

    def group(mine: list[str]) -> None:
        process = subprocess.Popen(_command(bench, mine), stdout=subprocess.PIPE, text=True)
        told = set()
        for line in process.stdout:
            if line.startswith("["):
                name, wrong = json.loads(line)
                told.add(name)
                bench.row(name, side, float(bool(wrong)), "failures", **({"note": wrong[:300]} if wrong else {}))
        status = process.wait()
        for name in mine:
            if name not in told:
                bench.row(name, "", None, "", error=f"its process ended with {status} before it")
                bench.failed.append(name)

    count = bench.size(PROCESSES, 2)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(group, [names[k::count] for k in range(count) if names[k::count]]))


def _command(bench: Bench, names: list[str]) -> list[str]:
    return [sys.executable, str(CASES), bench.device, *names]


def _arguments(bench: Bench, device: str) -> tuple:
    """x, x0 (uint8), gradient (float16), mean, std: the same numbers on either device."""
    shape = bench.size((32, 3, 224, 224), (4, 3, 32, 32))
    g = torch.Generator().manual_seed(0)
    x0 = torch.randint(0, 256, shape, generator=g, dtype=torch.uint8)
    x = (reference.pixels(x0) + 0.02 * (torch.rand(shape, generator=g) - 0.5)).clamp(0, 1)
    grad = torch.randn(shape, generator=g).half()
    mean, std = torch.tensor(towers.MEAN), torch.tensor(towers.STD)
    return tuple(t.to(device) for t in (x, x0, grad, mean, std))


def linf_step(x: Tensor, x0: Tensor, grad: Tensor, mean: Tensor, std: Tensor, kernels: str) -> Tensor:
    return torch.stack(zsr_kernels.linf_step(x, x0, grad, 0.002, 0.01, mean, std, torch.float32, kernels))


def l2_step(x: Tensor, x0: Tensor, grad: Tensor, mean: Tensor, std: Tensor, kernels: str) -> Tensor:
    return torch.stack(zsr_kernels.l2_step(x, x0, grad, 0.5, 1.0, mean, std, torch.float32, kernels))


def apgd_step(x: Tensor, x0: Tensor, grad: Tensor, mean: Tensor, std: Tensor, kernels: str) -> Tensor:
    rows = torch.full((len(x),), 0.002, device=x.device)
    before, weight = reference.pixels(x0), torch.full_like(rows, 0.75)
    args = (x, before, before, x0, grad, grad, None, rows, weight, 0.01, "linf", mean, std, torch.float32, kernels)
    out, _, net = zsr_kernels.apgd_step(*args)
    return torch.stack([out, net])


def start(x: Tensor, x0: Tensor, grad: Tensor, mean: Tensor, std: Tensor, kernels: str) -> Tensor:
    keys = torch.arange(len(x), device=x.device)
    return torch.stack(zsr_kernels.start(x0, keys, 1, 2, 0.01, "linf", mean, std, torch.float32, kernels))


def normalize(x: Tensor, x0: Tensor, grad: Tensor, mean: Tensor, std: Tensor, kernels: str) -> Tensor:
    return zsr_kernels.normalize(x0, mean, std, torch.float32, kernels)


OPS = {"linf_step": linf_step, "l2_step": l2_step, "apgd_step": apgd_step, "start": start, "normalize": normalize}


def large(bench: Bench, name: str, op: Callable[..., Tensor]) -> None:
    """A whole batch: against the same formula in PyTorch on this device, and on the CPU."""
    here = _arguments(bench, bench.device)
    got = op(*here, kernels="auto")
    there = op(*(t.cpu() for t in here), kernels="reference")
    sides = {"device's": op(*here, kernels="reference"), "CPU's": there.to(bench.device)}
    for whose, wanted in sides.items():
        difference = float((got - wanted).abs().max())
        bench.row(f"large {name}", f"against the {whose} reference", difference, "largest difference")


def same_seed(bench: Bench, name: str, precision: str) -> None:
    """PGD twice: how many pixels differ?"""
    tower = bench.size(name, "tiny")
    model: Normalized = towers.drawn(name, bench.device) if small(name) else towers.victim(tower, bench.device)
    x = towers.images("tiny" if small(name) else tower, bench.size(16, 8), bench.device)
    y = towers.predictions(model, x, len(x))
    settings = {"eps": 4 / 255, "steps": bench.size(5, 2), "batch_size": len(x), "precision": precision}
    first, second = (attack(model, x, y, "pgd", verdict="last", **settings).x_adv for _ in range(2))
    bench.row(f"same seed, {name} {precision}", "second run", int((first != second).sum()), "pixels that differ")


def small(name: str) -> bool:
    """Whether it is a backbone of the embedded benchmark, for images of 32 × 32."""
    return name.startswith("drawn")


def remembered(bench: Bench) -> None:
    """A training that visits its images twice remembers the original's features, made in batches of 256: do other
    batches give the same?"""
    name, count = bench.size(("B/32", 256), ("tiny", 16))
    tower = towers.victim(name, bench.device).net.visual
    x = towers.images(name, count, bench.device).float() / 255
    with torch.no_grad():
        whole = F.normalize(tower(x), dim=1)
        rest = {size: torch.cat([F.normalize(tower(part), dim=1) for part in x.split(size)]) for size in (8, 100)}
    largest = max(float((other - whole).norm(dim=1).max()) for other in rest.values())
    bench.row("remembered features", "other batches", largest, "relative difference")


def sanitizer(bench: Bench) -> None:
    """Accesses out of bounds, by compute-sanitizer, where it is installed."""
    case, tool = "memory accesses", shutil.which("compute-sanitizer")
    with bench.case(case, "compute-sanitizer") as wanted:
        if not wanted:
            return
        if not (bench.cuda and tool):
            why = "compute-sanitizer is not installed" if bench.cuda else "kernels are not compiled on a CPU"
            bench.row(case, "compute-sanitizer", None, "errors", note=f"not run: {why}")
            return
        command = [tool, "--error-exitcode", "99", *_command(bench, list(SANITIZED))]
        # without PyTorch's caching allocator every tensor is an allocation whose bounds are known
        environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=max(bench.left - 3, 1))
        print(done.stdout[-4000:], done.stderr[-2000:], flush=True)
        found = re.search(r"ERROR SUMMARY: (\d+) error", done.stdout)
        if not found:
            raise RuntimeError(f"compute-sanitizer ended with {done.returncode} and gave no summary")
        bench.row(case, "compute-sanitizer", int(found[1]), "errors")

"""Seconds and memory of a step, and the machine's name."""

import ctypes
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch


def fastest(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Processor seconds of each side's best round; sides alternate, so that a busy moment affects all of them."""
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for label, run in sides.items():
            start = time.process_time()
            run()
            best[label] = min(best[label], time.process_time() - start)
    return best


def peak(step: Callable[[], object], device: str) -> float:
    """Megabytes that two steps add to what is there: of the allocator on CUDA, of the process on Linux."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before and is still mapped would hide what a step needs
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # Linux: the peak begins here
    step()
    step()
    return status("VmHWM") - before


def status(field: str) -> float:
    """Megabytes from /proc/self/status: VmRSS is what is in memory, VmHWM its peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def processor() -> str:
    """The CPU's name, from /proc/cpuinfo."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

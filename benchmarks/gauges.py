"""Seconds and memory of a step, on a CPU or a GPU, and the machine's name."""

import ctypes
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch


def fastest(sides: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Seconds of each side's best round: they take turns, so that what slows the machine slows all of them."""
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for label, run in sides.items():
            best[label] = min(best[label], seconds(run, device))
    return best


def seconds(step: Callable[[], object], device: str) -> float:
    """Of one step."""
    if device == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    step()
    return time.process_time() - start


def peak(step: Callable[[], object], device: str) -> float:
    """Megabytes that two steps add to what is there."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before and is still mapped would hide what a step needs
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins here
    step()
    step()
    return status("VmHWM") - before


def status(field: str) -> float:
    """Megabytes that Linux says of this process: VmRSS, in memory; VmHWM, the peak of it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def machine(device: str) -> str:
    """Processor or GPU by name."""
    return torch.cuda.get_device_name() if device == "cuda" else f"{processor()}, one thread"


def processor() -> str:
    """The CPU by name, where Linux says it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

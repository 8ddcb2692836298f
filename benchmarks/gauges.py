"""Seconds and memory of a step, on a CPU or a GPU, and the machine's name."""

import ctypes
import os
import platform
import resource
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


def peak(step: Callable[[], None], device: str) -> float:
    """Megabytes that two steps add to what is there."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before and is still mapped would hide what a step needs
    read, write = os.pipe()
    child = os.fork()
    if not child:  # its peak begins where this process stands
        before = resident()
        step()
        step()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
        os.write(write, str(grown).encode())
        os._exit(0)
    os.waitpid(child, 0)
    grown = float(os.read(read, 64))
    os.close(read)
    os.close(write)
    return grown


def resident() -> float:
    """Megabytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def machine(device: str) -> str:
    """Processor or GPU by name."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]  # fmt: skip
    return f"{names[0] if names else platform.machine()}, one thread"

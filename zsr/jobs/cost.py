"""What a job has cost, for its manifest."""

import os
import resource
import sys
import time
from pathlib import Path


def process_start() -> float:
    """When this process began, imports of torch included (seconds since 1970); to 10 ms on Linux."""
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        age = float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):  # no /proc: processor time until now is close, since imports wait for nothing
        age = time.process_time()
    return time.time() - age


START = process_start()


def peak_megabytes(device: str) -> float:
    """Peak memory: of the GPU's allocator on CUDA, of the process elsewhere."""
    if device == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes on macOS, kilobytes on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)

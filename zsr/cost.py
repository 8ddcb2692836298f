"""What a job has cost, for its manifest."""

import resource
import sys


def peak_megabytes(device: str) -> float:
    """Peak memory: of the GPU's allocator on CUDA, of the process elsewhere."""
    if device == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes on macOS, kilobytes on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)

"""Refuses code of a job an environment variable that could change a number."""

import os
import sys
from types import FrameType

from zsr.errors import ZsrError
from zsr.guard.watch import WATCH, is_unwatched, of_project, unwatched

# Variables that code of the project may read in a job, since no number depends on them. Others become settings.
HARMLESS = {
    "ZSR_DATA", "ZSR_DOWNLOAD", "ZSR_WORKERS", "ZSR_RETRY_SECONDS",  # where bytes lie, how they are fetched
    "ZSR_TRACEBACK", "PATH", "HOME",
    "ZSR_GPUS", "ZSR_GPU_LOCKS", "ZSR_CELLS_PER_GPU", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_ID",
    "ZSR_DEVICE",  # of plans that jobs make again from a config whose device is resolved
    "GLOO_SOCKET_IFNAME", "OMP_NUM_THREADS",  # set by the job itself
    "TRITON_INTERPRET",  # refused below
}  # fmt: skip
# Variables of libraries that change numbers and are in no spec: a job refuses them.
CHANGING = (
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TRITON_INTERPRET", "TRITON_F32_DEFAULT",
    "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE",
)  # fmt: skip


class Environment(os._Environ):
    """`os.environ` that refuses code of the project a variable which could change a number."""

    def __getitem__(self, key: str) -> str:
        if key not in HARMLESS and not is_unwatched():
            refuse_variable(key)
        return super().__getitem__(key)


def refuse_variable(key: str) -> None:
    """Raise if code of the project reads the variable; compiled code has no frame and counts as its caller."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(("<frozen os", "<frozen _collections_abc")):
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename in WATCH.asking:
        WATCH.faults.append(
            f"{of_project(frame.f_code.co_filename)}:{frame.f_lineno}: reads the environment variable {key}, which no "
            "spec holds; make it a setting, or add it to HARMLESS in zsr/guard/environment.py if it changes no number"
        )
        raise ZsrError(WATCH.faults[-1])


def refuse_changing_variables() -> None:
    """Raise if a variable is set by which a library changes numbers."""
    with unwatched():
        for name in CHANGING:
            if os.environ.get(name):
                raise ZsrError(f"the environment variable {name} changes results and is in no spec; unset it")

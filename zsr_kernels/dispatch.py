"""Which implementation an op runs: the reference on a CPU, Triton on CUDA, never a silent fallback between the two."""

import importlib.util
from functools import cache

import torch
from torch import Tensor

BACKENDS = ("auto", "triton", "reference")


class KernelError(ValueError):
    """A tensor that an op cannot take, or a backend that is missing; the message names the op and the argument."""


@cache
def triton_installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def use_triton(device: torch.device, kernels: str = "auto") -> bool:
    """True if the op runs as a Triton kernel. CUDA without Triton is an error unless the reference is asked for."""
    if kernels not in BACKENDS:
        raise KernelError(f"kernels='{kernels}' is unknown; known: {', '.join(BACKENDS)}")
    if kernels == "reference" or (kernels == "auto" and device.type != "cuda"):
        return False
    if device.type != "cuda" and not interpreting():
        raise KernelError(f"kernels='triton' needs a CUDA device, the tensors are on '{device}'; use kernels='auto'")
    if not triton_installed():
        raise KernelError("Triton is not installed, and CUDA needs it: install triton, or say kernels='reference'")
    return True


def interpreting() -> bool:
    """Triton's interpreter, which runs kernels on a CPU for the tests; read when the kernels are first imported."""
    import os

    return os.environ.get("TRITON_INTERPRET") == "1"


def check(op: str, x: Tensor, **others: Tensor | float | None) -> None:
    """Shapes, devices and dtypes of an op's arguments; raises with the argument's name."""
    if x.dtype != torch.float32:
        raise KernelError(f"{op}: x must be float32, is {x.dtype}")
    check_beside(op, x, **others)


def check_images(op: str, name: str, x: Tensor, **others: Tensor | float | None) -> None:
    """The same for an op whose images may be uint8."""
    if x.dtype not in (torch.float32, torch.uint8):
        raise KernelError(f"{op}: {name} must be float32 or uint8, is {x.dtype}")
    check_beside(op, x, **others)


def check_beside(op: str, x: Tensor, **others: Tensor | float | None) -> None:
    """The arguments besides the images."""
    if x.ndim < 2:
        raise KernelError(f"{op}: images must be [B, C, ...], are {tuple(x.shape)}")
    if (others.get("mean") is None) != (others.get("std") is None):
        raise KernelError(f"{op}: mean and std go together, one of them is None")
    for name, value in others.items():
        if not isinstance(value, Tensor):
            continue
        if value.device != x.device:
            raise KernelError(f"{op}: {name} is on {value.device}, x on {x.device}")
        wanted = _shape(name, x)
        if tuple(value.shape) not in wanted:
            expected = " or ".join(map(str, wanted))
            raise KernelError(f"{op}: {name} has shape {tuple(value.shape)}, expected {expected}")
        allowed = _dtypes(name)
        if value.dtype not in allowed:
            raise KernelError(f"{op}: {name} is {value.dtype}, expected {' or '.join(map(str, allowed))}")


def _shape(name: str, x: Tensor) -> tuple[tuple[int, ...], ...]:
    if name in ("mean", "std"):
        return ((x.shape[1],),)
    if name in ("step", "eps", "share", "weight"):
        return ((x.shape[0],), (1,), ())
    if name in ("keys", "restore", "loss", "loss_best", "loss_last", "rises"):
        return ((x.shape[0],),)
    return (tuple(x.shape),)


def _dtypes(name: str) -> tuple[torch.dtype, ...]:
    if name == "x0":
        return (torch.float32, torch.uint8)
    if name in ("grad", "grad_best"):
        return (torch.float32, torch.float16, torch.bfloat16)
    if name in ("keys", "rises"):
        return (torch.int64,)
    if name == "restore":
        return (torch.bool,)
    return (torch.float32,)

"""Sets the arithmetic of attacks and trainings: float32 as written, TF32, or float16, whatever the caller has set.

By default PyTorch rounds float32 convolutions to TF32 on a GPU. If a script has switched on TF32 or autocast, verdicts
would have fewer bits than they claim, and FAB's level would be a difference of rounded sums. The flags are global and
are read when an operation runs, so a backward needs them as its forward does. torch has two interfaces to them, and
reading the older one raises after the newer one was used; both are saved as far as they can be read, and restored. This
takes 20 µs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import backends

# torch sets these attributes when it is imported, so its stubs do not have them
FINE: tuple[Any, ...] = (
    backends.cuda.matmul,
    backends.cudnn.conv,  # type: ignore[attr-defined]
    backends.cudnn.rnn,
    backends.mkldnn.matmul,  # type: ignore[attr-defined]
    backends.mkldnn.conv,  # type: ignore[attr-defined]
)

T = TypeVar("T")


@contextmanager
def flags(tf32: bool = False) -> Iterator[None]:
    """Products and convolutions of float32 in TF32, or in float32."""
    products, convolutions = _readable(torch.get_float32_matmul_precision), _readable(_convolutions)
    before = [switch.fp32_precision for switch in FINE]
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        backends.cudnn.allow_tf32 = tf32
        for switch in FINE:  # `none` would inherit what is set for all of them
            switch.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for switch, value in zip(FINE, before, strict=True):
            switch.fp32_precision = value


@contextmanager
def arithmetic(device: torch.device, precision: str = "fp32") -> Iterator[None]:
    """What a forward in `precision` ('fp32', 'tf32', 'fp16') runs in; float16 by autocast."""
    with flags(precision == "tf32"), torch.autocast(device.type, torch.float16, enabled=precision == "fp16"):
        yield


def _convolutions() -> bool:
    return backends.cudnn.allow_tf32


def _readable(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except RuntimeError:  # set by the newer interface, which alone is restored
        return None

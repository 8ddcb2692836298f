"""Sets the arithmetic of attacks and trainings (float32, TF32 or float16), whatever the caller has set.

PyTorch rounds float32 convolutions to TF32 on a card by default. A script that has switched on TF32 or autocast would
otherwise compute verdicts in fewer bits than it asks for, and FAB's level would be a difference of rounded sums. The
flags are global and are read when an operation runs: a backward needs them as its forward does. torch has two
interfaces to them, and reading the older one raises where the newer was used; so both are saved as far as they can be
read, and put back. 20 µs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import backends

T = TypeVar("T")
# each has a flag `fp32_precision`, which torch's type stubs do not know
FINE: tuple[Any, ...] = (
    *(backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn),  # type: ignore[attr-defined]
    *(backends.mkldnn.matmul, backends.mkldnn.conv),  # type: ignore[attr-defined]
)


@contextmanager
def flags(tf32: bool = False) -> Iterator[None]:
    """Products and convolutions of float32 in TF32, or in float32."""
    products, convolutions = _readable(torch.get_float32_matmul_precision), _readable(_convolutions)
    before = [backend.fp32_precision for backend in FINE]
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        backends.cudnn.allow_tf32 = tf32
        for backend in FINE:  # `none` would inherit what is set for all of them
            backend.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for backend, value in zip(FINE, before, strict=True):
            backend.fp32_precision = value


@contextmanager
def arithmetic(device: torch.device, precision: str = "fp32") -> Iterator[None]:
    """What a forward in `precision` ('fp32', 'tf32', 'fp16') runs in; float16 by autocast."""
    with flags(precision == "tf32"), torch.autocast(device.type, torch.float16, enabled=precision == "fp16"):
        yield


def _convolutions() -> bool:
    return backends.cudnn.allow_tf32


def _readable(read: Callable[[], T]) -> T | None:
    """What the older interface says; None where it cannot be read."""
    try:
        return read()
    except RuntimeError:  # set by the newer interface: it alone is put back
        return None

"""Reads a safetensors file, and refuses tensors whose numbers the model's own type cannot hold.

Half and double precision are rounded to the model's type, as they always were. Integers in place of weights are a
quantised checkpoint without its scales, and complex numbers would lose a half: both are refused.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from zsr.errors import ZsrError
from zsr.storage.unreadable import AGAIN, reading

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
ADMITTED = (*FLOATS, *INTEGERS, torch.bool)
CURE = "save the weights as float32, float16 or bfloat16"


def load(path: Path, cure: str = AGAIN) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    with reading(path, "a safetensors file", cure):
        return load_file(path)


def check_plain(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Refuse what no model has: complex numbers, 8-bit floats, sparse and quantised tensors, tensors without data."""
    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
            raise ZsrError(f"{path}: the tensor '{name}' is sparse, quantised or without data; {CURE}")
        if value.dtype not in ADMITTED:
            raise ZsrError(f"{path}: the tensor '{name}' is {kind_of(value)}; {CURE}")
    return tensors


def check_kind(name: str, value: Tensor, own: Tensor, path: Path | str) -> None:
    """Refuse a tensor whose numbers the model's own tensor cannot hold."""
    if value.dtype == own.dtype:
        return
    if own.is_floating_point():
        fits, cure = value.dtype in FLOATS, CURE
    else:  # a count or a place: it must be the same number afterwards
        exact = torch.bool not in (value.dtype, own.dtype) and torch.equal(value.to(own.dtype).to(value.dtype), value)
        fits, cure = exact, f"save it as {kind_of(own)}"
    if not fits:
        raise ZsrError(f"{path}: the tensor '{name}' is {kind_of(value)}, the model's is {kind_of(own)}; {cure}")


def check_finite(name: str, value: Tensor, path: Path | str) -> None:
    """Refuse NaN and what became infinite in the model's type (1e300 in float32)."""
    if not torch.isfinite(value).all():
        raise ZsrError(
            f"{path}: the tensor '{name}' holds values that are not finite in {kind_of(value)}; a damaged checkpoint, "
            "take another"
        )


def kind_of(value: Tensor) -> str:
    """`int8`"""
    return str(value.dtype).removeprefix("torch.")

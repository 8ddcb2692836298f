"""Bytes and tensors that are no weights, for tests of every place that reads weights."""

import io
from collections.abc import Callable

import torch
from torch import Tensor


def torch_file(value: object, **how: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def safe_file(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save(tensors)


GOOD = safe_file({"a": torch.arange(4.0), "b": torch.ones(2, 3)})


def huge(value: Tensor) -> Tensor:
    made = value.double()
    made.view(-1)[0] = 1e300
    return made


def with_one(number: float) -> Callable[[Tensor], Tensor]:
    def change(value: Tensor) -> Tensor:
        made = value.clone()
        made.view(-1)[0] = number
        return made

    return change


KINDS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "int8": (lambda v: (v * 100).to(torch.int8), "is int8, the model's is float32; save the weights as float32"),
    "uint8": (lambda v: (v * 100).to(torch.uint8), "is uint8, the model's is float32"),
    "int64": (lambda v: (v * 100).long(), "is int64, the model's is float32"),
    "bool": (lambda v: v > 0, "is bool, the model's is float32"),
    "complex": (lambda v: v + 1j, "is complex64; save the weights as float32"),
    "float8": (lambda v: v.to(torch.float8_e4m3fn), "is float8_e4m3fn; save the weights as float32"),
    "float8 e5m2": (lambda v: v.to(torch.float8_e5m2), "is float8_e5m2; save the weights"),
    "1e300": (huge, "holds values that are not finite in float32; a damaged checkpoint"),
    "nan": (with_one(float("nan")), "holds values that are not finite in float32"),
    "inf": (with_one(float("inf")), "holds values that are not finite in float32"),
    "half inf": (lambda v: with_one(float("inf"))(v.half()), "holds values that are not finite in float32"),
}

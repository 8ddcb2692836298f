"""Keeps bytes (a tokenizer's file, texts) as a uint8 tensor, so that one safetensors file holds all of a model."""

import torch
from torch import Tensor


def packed(content: bytes) -> Tensor:
    """A tensor of bytes."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def unpacked(tensor: Tensor) -> bytes:
    """The bytes of `packed`."""
    return tensor.cpu().numpy().tobytes()

"""Text inside a model's weights: bytes as a uint8 tensor, so that one safetensors file holds all that a model needs."""

import torch
from torch import Tensor


def packed(content: bytes) -> Tensor:
    """A tensor of bytes."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def unpacked(tensor: Tensor) -> bytes:
    """The bytes of `packed`."""
    return tensor.cpu().numpy().tobytes()

"""Resizes images of any size to a tower's own inside the model, so that the attack differentiates through it.

The papers attack CIFAR at 32 × 32 and STL-10 at 96 × 96 and enlarge to 224 behind the perturbation. Resizing and
normalisation commute (the weights of each output pixel add up to 1), so the tower may resize what is normalised
already. Enlarging is plain bicubic or bilinear interpolation as in the papers' code; shrinking is antialiased, as in
any preprocessing of CLIP. An image of the right size passes untouched.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]


def pair(size: int | list[int] | tuple[int, ...]) -> Size:
    """Height and width; open_clip writes them as one number or as two."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def resized(images: Tensor, size: Size, mode: str = "bicubic") -> Tensor:
    """[B, C, h, w] -> [B, C, H, W], differentiable."""
    if images.shape[-2:] == size:
        return images
    shrinks = images.shape[-2] > size[0] or images.shape[-1] > size[1]
    return F.interpolate(images, size=size, mode=mode, align_corners=False, antialias=shrinks)


@dataclass(frozen=True)
class Resize:
    """The hook in front of a tower's first layer. A class, so that a copied tower keeps a hook that means the same."""

    size: Size
    mode: str

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.images(args[0]), *args[1:])

    def images(self, images: Tensor) -> Tensor:
        return resized(images, self.size, self.mode)


def accept_any_size(visual: nn.Module, size: Size, mode: str) -> None:
    """Let a tower take images of any size; its type and the names of its tensors stay what they are.

    The hook sits on the first layer, not on the tower: methods that look at patches call the layers themselves.
    """
    conv1 = getattr(visual, "conv1", None)
    first = conv1 if isinstance(conv1, nn.Module) else visual
    resize = Resize(size, mode)
    visual.resize = resize  # type: ignore[assignment]  # a plain attribute
    first.register_forward_pre_hook(resize)


def as_seen(visual: nn.Module, images: Tensor) -> Tensor:
    """Images as a tower's first layer gets them, for what adds to their pixels; a bare tower takes one size alone."""
    resize = getattr(visual, "resize", None)
    return images if resize is None else resize.images(images)

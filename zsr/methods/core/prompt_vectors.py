"""Learned vectors in both towers of a frozen CLIP: what is stored, how the sides hang together, the image's forward.

The text side is `text` [J, M, width]: vectors in the first J layers, read by the prompted text tower. The image side is
`image` [J, M, width]: tokens behind the patches, before ln_pre in layer 0, replaced by others of their own in layers
1 … J - 1 (VPT-deep; MaPLe, arXiv 2210.03117). Coupled, one side is made of the other by a linear map per layer:
    text-to-image (MaPLe)    image_j = W_j·text_j + b_j
    image-to-text (FAP)      text_j = start_j + W_j·image_j + b_j      start: the embedded initial words, 0 when deep
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zsr.methods.core.frozen_tower import FrozenTower, tokens_in

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer


class Prompts(nn.Module):
    """One set of learned vectors; a side that does not train is None."""

    text: nn.Parameter | None
    image: nn.Parameter | None
    start: Tensor

    def __init__(self, text: Tensor, image: Tensor | None, coupling: str, generator: torch.Generator) -> None:
        super().__init__()
        self.coupling = coupling
        for name, side, other in (("text", text, image), ("image", image, text)):
            made = coupling.endswith(f"-to-{name}")
            self.register_parameter(name, None if made or side is None else nn.Parameter(side))
            if made and side is not None and other is not None:  # as nn.Linear is initialised
                shape = (len(side), side.shape[2], other.shape[2])
                draw = 2 * torch.rand(shape[0], shape[1], shape[2] + 1, generator=generator) - 1
                draw = draw / shape[2] ** 0.5
                self.weight, self.bias = nn.Parameter(draw[..., :-1]), nn.Parameter(draw[..., -1])
        if coupling == "image-to-text":
            start = torch.cat([text[:1], torch.zeros_like(text[1:])])
            self.register_buffer("start", start)

    def mapped(self, side: Tensor) -> Tensor:
        """W_j·side_j + b_j [J, M, width of the other side]."""
        return torch.baddbmm(self.bias[:, None], side, self.weight.mT)

    def text_side(self) -> Tensor:
        """[J, M, width], with gradient."""
        if self.text is not None:
            return self.text
        assert self.image is not None  # the text side is made of it
        return self.start + self.mapped(self.image)

    def image_side(self) -> Tensor | None:
        """[J, M, width], with gradient; None for methods that leave the image alone."""
        return self.mapped(self.text) if self.coupling == "text-to-image" and self.text is not None else self.image


class Bimodal(FrozenTower):
    """The image tower seen through a set of prompts: `prompts`, or another that is asked for (a `teacher`'s)."""

    visual: "VisionTransformer"
    prompts: Prompts
    teacher: Prompts

    def __init__(self, visual: nn.Module, **sets: Prompts) -> None:
        super().__init__(visual)
        for name, prompts in sets.items():
            self.add_module(name, prompts)

    def forward(self, x: Tensor) -> Tensor:
        return self.see(x, self.prompts)

    def see(self, x: Tensor, prompts: Prompts) -> Tensor:
        """Features [B, D] of normalised images."""
        tower, image = self.visual, prompts.image_side()
        if image is None or not image.shape[1]:
            return tower(x)
        x = tokens_in(tower, x)
        own = x.shape[1]  # class token and patches
        x = tower.ln_pre(torch.cat([x, image[0].expand(len(x), -1, -1).to(x.dtype)], 1))
        for layer, block in enumerate(tower.transformer.resblocks):
            if 0 < layer < len(image):
                x = torch.cat([x[:, :own], image[layer].expand(len(x), -1, -1).to(x.dtype)], 1)
            x = block(x)
        return tower.ln_post(x)[:, 0] @ tower.proj


def bimodal(visual: nn.Module) -> Bimodal:
    """A student that a method with learned prompts has wrapped."""
    if not isinstance(visual, Bimodal):
        raise TypeError(f"a tower with learned prompts is wanted, this is a {type(visual).__name__}")
    return visual

"""A frozen image tower behind what a method puts before it, and its token sequence, where prompts are put in."""

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer


class FrozenTower(nn.Module):
    """`visual` stays in eval mode, so nothing of it moves, BatchNorm's statistics included."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.visual.eval()
        return self


def tokens_in(tower: "VisionTransformer", x: Tensor) -> Tensor:
    """Normalised images -> class token and patches with their positions [B, 1 + P, width], as they go into ln_pre."""
    x = tower.conv1(x).flatten(2).transpose(1, 2)  # [B, P, width]
    x = torch.cat([tower.class_embedding.expand(len(x), 1, -1).to(x.dtype), x], 1)
    return x + tower.positional_embedding.to(x.dtype)

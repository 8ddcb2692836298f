"""AdvVP: visual prompts alone, tokens and a frame, under TeCoA's loss (a rival in FAP, arXiv 2403.14774, C.1).

    x <- normalise(x) + P  on a border,    k tokens behind the patches,    L = CE(x_a, y)         attack: the same loss

`vp-pixel` and `vp-token` at once; class texts are the backbone's.

Paper: ViT-B/32, 5 tokens and a border of 30 of 224 pixels, SGD 40, 10 epochs, PGD-2 with ε = α = 1/255: 33.59 clean and
14.28 robust over 11 sets with 16 shots; 43.69 and 13.56 from ImageNet to the others.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from zsr.methods.core.patch_tokens import require
from zsr.methods.core.task import Task
from zsr.methods.vp_pixel import PixelPrompted, VPPixel, framed
from zsr.methods.vp_token import TokenPrompted, VPToken


class FramePrompted(TokenPrompted):
    """A VisionTransformer with a learned frame on its images and tokens behind its patches."""

    border: Tensor

    def __init__(self, visual: nn.Module, tokens: Tensor, framed: PixelPrompted) -> None:
        super().__init__(visual, tokens)
        self.frame = framed.prompt  # [3, n]
        self.register_buffer("border", framed.border, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(framed(self.visual, x, self.border, self.frame))


@dataclass(frozen=True)
class AdvVP(VPPixel):
    """A border of pixels and k tokens train, the tower does not."""

    needs_tokens: ClassVar[bool] = True

    tokens: int = 5  # k

    def check(self, task: Task) -> None:
        require(task.visual, "advvp")
        super().check(task)
        VPToken(tokens=self.tokens).check(task)

    def wrap(self, visual: nn.Module, seed: int = 0) -> nn.Module:
        tokens = VPToken(tokens=self.tokens).wrap(visual, seed).prompt.detach()
        return FramePrompted(visual, tokens, self.framed(visual, seed))

    def trainable(self, visual: nn.Module) -> list[str]:
        return ["prompt", "frame"]

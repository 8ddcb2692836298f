"""VPT: learned tokens in the input of a frozen ViT, with TeCoA's loss (Mao et al., ICLR 2023, section 3.2 and A.6).

The sequence is [class token; patches; P_1 … P_k] at the input layer only, before ln_pre; the prompts have no positional
embedding (in the authors' code it is a zero that does not train) and start from N(0, 1). They are part of the model in
evaluation, and the attacker sees them.

Paper: k = 200 on the whole of ImageNet, 5 on subsets up to 50 images per class; SGD with learning rate 40, batch 256
(64 on subsets), PGD-2 with ε = α = 1/255: 53.00 clean, 32.00 robust over 16 sets. With the other losses: CE 60.52
and 7.79, Adv 51.11 and 31.84, CoAdv 49.45 and 26.97, ImgCoAdv 26.48 and 5.51 (`criterion`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.methods.core.frozen_tower import tokens_in
from zsr.methods.core.patch_tokens import require
from zsr.methods.core.task import Task
from zsr.methods.core.visual_prompts import Prompted, VisualPrompt

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer


class TokenPrompted(Prompted):
    """A VisionTransformer of open_clip with further tokens behind its patches; `prompt` is [k, width]."""

    visual: "VisionTransformer"

    def forward(self, x: Tensor) -> Tensor:
        tower = self.visual
        x = tokens_in(tower, x)
        x = torch.cat([x, self.prompt.expand(len(x), -1, -1).to(x.dtype)], 1)
        x = tower.transformer(tower.ln_pre(x))
        return tower.ln_post(x)[:, 0] @ tower.proj  # [B, D]


@dataclass(frozen=True)
class VPToken(VisualPrompt):
    """k tokens train, the tower does not."""

    needs_tokens: ClassVar[bool] = True

    tokens: int = 5  # k

    def check(self, task: Task) -> None:
        require(task.visual, "vp-token")
        if self.tokens < 1:
            raise ZsrError(f"vp-token: tokens is {self.tokens}, at least one must train")

    def wrap(self, visual: nn.Module, seed: int = 0) -> TokenPrompted:
        generator = torch.Generator().manual_seed(seed)
        width = len(visual.get_parameter("class_embedding"))
        return TokenPrompted(visual, torch.randn(self.tokens, width, generator=generator))

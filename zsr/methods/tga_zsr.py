"""TGA-ZSR: text-guided attention (Yu et al., NeurIPS 2024, arXiv 2410.21802, eq. 5-8).

    L = CE(x_a, y) + α·mean ||A_θ(x_a) - A_0(x)||_2 + β·mean ||A_θ(x) - A_0(x)||_2

A(x) is the likeness of the patch tokens (after ln_post and proj) to the text of the *true* class, scaled to [0, 1] by
its minimum and maximum, resized to 224 × 224; the norm runs over those 50,176 values and is not squared. A_0 is the
original's, constant; gradients flow through both student branches and through minimum and maximum.

Paper: ViT-B/32 on TinyImageNet, SGD 1e-4, batch 128, 10 epochs, PGD-2 with ε = α = 1/255 on cross-entropy; 56.44 clean,
42.09 PGD-100 over 16 sets with (α, β) = (0.08, 0.05), but 30.86 AutoAttack from another model, β = 0.009: set
`beta: 0.009` for that one. UCAT's re-run: 49.91 clean, 31.55 PGD, 30.52 AutoAttack.
The paper's formula is f(x)·g(t); the authors' code gives each *channel* unit length over the tokens (`normalise:
tokens`, the default, since the numbers come from it). Its resizing depends on the image size; `map_size` keeps 224 for
images of any size, or the weights would mean something else (the norm grows with the side).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.patch_tokens import grid_of, guided, look, map_distance, require
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class TGAZSR(AdversarialMethod):
    """TeCoA, with attention to the class's text held to the original's."""

    needs_tokens: ClassVar[bool] = True

    alpha: float = 0.08  # weight of the adversarial branch
    beta: float = 0.05  # weight of the clean branch
    normalise: Literal["tokens", "features"] = "tokens"  # the authors' code, the paper's formula
    map_size: int = 224  # side of the resized map

    def check(self, task: Task) -> None:
        require(task.visual, "tga-zsr")

    def attention(self, task: Task, seen: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        """A of each image to its true class, before resizing [B, P]."""
        return guided(*seen, task.head[batch.labels], self.normalise)

    def distance(self, task: Task, one: Tensor, other: Tensor) -> Tensor:
        """Mean over the batch of the norm of the difference of two resized maps."""
        return map_distance(one, other, grid_of(task.visual), self.map_size).mean()

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        net_input = self.attack(task, batch).net_input
        seen = look(task.visual, net_input)
        logits = task.logits(seen[0])  # [B, C]
        loss = F.cross_entropy(logits, batch.labels)
        logged = {"robust_accuracy": accuracy(logits, batch.labels)}
        if not (self.alpha or self.beta):
            return loss, logged
        clean_input = task.normalise(batch.images)
        with torch.no_grad():  # in each step: cached maps would differ by rounding, and the norm's gradient is of
            original = self.attention(task, look(task.frozen, clean_input), batch)  # unit length however little that is
        if self.alpha:
            term = self.distance(task, self.attention(task, seen, batch), original)
            loss, logged["attention_adversarial"] = loss + self.alpha * term, term.detach()
        if self.beta:
            with task.frozen_bn_stats():
                clean = look(task.visual, clean_input)
            term = self.distance(task, self.attention(task, clean, batch), original)
            loss, logged["attention_clean"] = loss + self.beta * term, term.detach()
        return loss, logged

"""Adv: adversarial training against a linear head that knows no text (Mao et al., ICLR 2023, section 4 and A.3).

    L = CE( C_φ(f_θ(x_a)), y )        attack: the same loss

The linear layer C_φ is first trained on clean images and then kept, while θ is updated (algorithm 1). Zero-shot
evaluation uses f_θ with text prompts (the paper does not say it, there is no other way for unseen classes), whose
alignment nothing preserves: 18.49 clean, 10.62 robust over 16 sets, below TeCoA's 55.97 and 38.18 by design.

Reconstruction: how C_φ is trained. Here it is multinomial logistic regression on the original's features (not of unit
length, standardised by one number) by L-BFGS from zero, with a small ridge: convex, so no learning rate to choose.
Cost before the first step: one forward of the source images, and `iterations` passes over their features.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task
from zsr.methods.core.tower_with_buffers import source_features

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet


@dataclass(frozen=True)
class Adv(AdversarialMethod):
    """Cross-entropy of a fixed linear head on adversarial images."""

    head_images: int = 20000  # the head is trained on at most so many source images, the first of the subset
    iterations: int = 50  # L-BFGS iterations
    ridge: float = 1e-4

    def prepare(self, task: Task, source_set: "SourceSet") -> None:
        features, labels = source_features(task, source_set, self.head_images)
        weight, bias = linear_head(features, labels, len(task.head), self)
        task.extras |= {"adv_weight": weight, "adv_bias": bias}

    def logits(self, task: Task, features: Tensor) -> Tensor:
        """C_φ(f) [B, C]."""
        return F.linear(features, task.extras["adv_weight"], task.extras["adv_bias"])

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(task, task.visual(self.attack(task, batch).net_input))
        return F.cross_entropy(logits, batch.labels), {"robust_accuracy": accuracy(logits, batch.labels)}


def linear_head(features: Tensor, labels: Tensor, classes: int, settings: Adv) -> tuple[Tensor, Tensor]:
    """Weights [C, D] and biases [C] that minimise cross-entropy + ridge/2·|W|^2 on features [N, D]."""
    size = features.square().mean().sqrt()
    x = features / size
    weight = torch.zeros(classes, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=settings.iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), labels) + settings.ridge / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return (weight / size).detach(), bias.detach()

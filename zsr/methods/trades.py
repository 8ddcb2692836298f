"""TRADES with the classifier made of text (Zhang et al., ICML 2019, arXiv 1901.08573, eq. 5).

    L = CE(x, y) + λ·KL( p(x) || p(x_a) )        x_a = argmax_{|x_a - x|_inf <= ε} KL( p(x) || p(x_a) )

The clean prediction pays for accuracy, the divergence for its stability; the attack needs no label. Gradients flow
through both distributions, as in the authors' code, which computes p(x) for the attack in eval mode as here.

Paper: trained from scratch, λ = 6 (1/λ in its notation) on CIFAR-10. Nobody reports the pure form on CLIP; UCAT's
ablation CE(x_a) + KL(clean || adversarial) reaches 45.0 clean, 30.1 PGD, 29.1 AutoAttack on TinyImageNet's 16 sets.
λ at CLIP's temperature is this project's choice: the divergence of logits of ±100 is of the order of the cross-entropy
itself, and 6 stays the default for comparability. The authors start the attack at x + 0.001·N(0, 1), here it starts
uniformly in the ball like every other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.attacks.core.objectives import kl
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class TRADES(AdversarialMethod):
    """Cross-entropy of clean images, and a divergence that holds adversarial predictions to the clean ones."""

    weight: float = 6.0  # λ

    def objective(self, task: Task, batch: Batch) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():  # the attack has put the network into eval mode
            return self.divergence_from(task, task.logits(task.features(batch.images)))

    @staticmethod
    def divergence_from(task: Task, clean: Tensor) -> Callable[[Tensor], Tensor]:
        """KL( p(x) || p(x_a) ) with constant clean logits [B, C]."""
        clean_log_p = F.log_softmax(clean, 1)
        return lambda features: kl(clean_log_p, F.log_softmax(task.logits(features), 1))

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        # this forward moves BatchNorm's running statistics, see Task.frozen_bn_stats
        clean = task.logits(task.features(batch.images))  # [B, C]
        loss = F.cross_entropy(clean, batch.labels)
        logged = {"accuracy": accuracy(clean, batch.labels)}
        if not self.weight:
            return loss, logged
        # without BatchNorm and dropout the forward above is what the attack wants: one forward less
        objective = None if task.train_differs_from_eval else self.divergence_from(task, clean.detach())
        net_input = self.attack(task, batch, objective).net_input
        with task.frozen_bn_stats():
            adversarial = task.logits(task.visual(net_input))
        divergence = kl(F.log_softmax(clean, 1), F.log_softmax(adversarial, 1)).mean()
        logged |= {"robust_accuracy": accuracy(adversarial, batch.labels), "kl": divergence.detach()}
        return loss + self.weight * divergence, logged

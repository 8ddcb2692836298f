"""FAP: few-shot adversarial prompt learning (Zhou et al., NeurIPS 2024, arXiv 2403.14774).

    L = CE(x, y) + λ·mean_i [ cos(f(x_i), f(x_a,i)) + 1 ]·KL( p(x_i) || p(x_a,i) )
    x_a = argmax KL( p(x) || p(x_a) )

The clean image learns the class, the divergence holds the adversarial one to it, and the cosine lets image features
part while predictions stay. Nothing is detached. The attack needs no label; the cosine in it would change nothing
(paper). The prompts are coupled from image to text.

Paper: ViT-B/32, λ = 1.5, M = 2, J = 9, SGD 0.0035, 10 epochs (5 from ImageNet), batch 4, PGD-2 with ε = α = 1/255,
no augmentation: 65.32 clean and 34.61 robust over 11 sets with 16 shots; 70.52 and 38.05 on base classes, 49.58 and
21.86 on new ones; 47.76 and 24.23 from ImageNet to the others (AutoAttack 17.41).

Reconstruction: how the initial words and the projection meet. Here text_0 = embedded words + W_0·image_0 + b_0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.attacks.core.objectives import kl
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task
from zsr.methods.core.text_prompts import BimodalPrompts


@dataclass(frozen=True)
class FAP(BimodalPrompts):
    """Cross-entropy of clean images, and a divergence weighted by how alike the features are."""

    coupling: ClassVar[str] = "image-to-text"

    weight: float = 1.5  # λ

    def objective(self, task: Task, batch: Batch) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            texts = self.texts(task)
            return self.divergence_from(task, task.logits(task.features(batch.images), head=texts), texts)

    @staticmethod
    def divergence_from(task: Task, clean: Tensor, texts: Tensor) -> Callable[[Tensor], Tensor]:
        """KL( p(x) || p(x_a) ) with constant clean logits [B, C] and texts [C, D]."""
        clean_log_p, texts = F.log_softmax(clean.detach(), 1), texts.detach()
        return lambda features: kl(clean_log_p, F.log_softmax(task.logits(features, head=texts), 1))

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        texts, features = self.texts(task), task.features(batch.images)
        clean = task.logits(features, head=texts)
        loss, logged = F.cross_entropy(clean, batch.labels), {"accuracy": accuracy(clean, batch.labels)}
        if not self.weight:
            return loss, logged
        # the tower is always in eval mode: the forward above is what the attack wants
        moved = task.visual(self.attack(task, batch, self.divergence_from(task, clean, texts)).net_input)
        adversarial = task.logits(moved, head=texts)
        likeness = F.cosine_similarity(features, moved, dim=1) + 1
        divergence = (likeness * kl(F.log_softmax(clean, 1), F.log_softmax(adversarial, 1))).mean()
        logged |= {"robust_accuracy": accuracy(adversarial, batch.labels), "divergence": divergence.detach()}
        return loss + self.weight * divergence, logged

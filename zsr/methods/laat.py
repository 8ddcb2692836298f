"""LAAT: classes anchored at expanded text embeddings (Li et al., CVPR 2024, arXiv 2301.13096).

Text embeddings lie in a narrow cone. With c the normalised mean of the source classes' and θ_i the angle of class i to
it, the expansion turns each embedding away from c, in the plane of both, to θ_i·(π/2)/θ_max: the farthest source class
ends at a right angle. Anchors a_i are fixed; unseen classes are turned by the same c and θ_max.

    L = CE( s·cos(f(x_a), a), y ) - β·mean cos( f(x), f(x_a) )        attack: the cross-entropy

Gradients flow through both sides of the smoothing term. The model is evaluated with the anchors of the target set, made
with the *source's* c and θ_max, which are saved beside the tower (`TowerWithBuffers`, `head`).

Paper and code: trained from scratch on CIFAR-FS and miniImageNet at 8/255, temperature 1, β = 1, PGD; no number on the
sets used here, and fine-tuning of CLIP is not its setting. Reconstruction: CLIP's s in place of temperature 1, at which
the loss hardly moves a tower that already has small angles.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task
from zsr.methods.core.tower_with_buffers import TowerWithBuffers, dimensions

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet


@dataclass(frozen=True)
class LAAT(AdversarialMethod):
    """TeCoA towards expanded anchors, with clean and adversarial features held together."""

    own_tensors: ClassVar[bool] = True

    beta: float = 1.0  # weight of the smoothing term

    def wrap(self, visual: nn.Module, seed: int = 0) -> nn.Module:
        return TowerWithBuffers(visual, centre=torch.zeros(dimensions(visual)), reach=torch.ones(()))

    def prepare(self, task: Task, source_set: "SourceSet") -> None:
        centre = F.normalize(task.head.mean(0), dim=0)
        task.visual.get_buffer("centre").copy_(centre)
        task.visual.get_buffer("reach").copy_(angles(task.head, centre).max())
        task.extras["anchors"] = self.head(task.visual, task.head)

    def head(self, visual: nn.Module, head: Tensor) -> Tensor:
        return expand(head, visual.get_buffer("centre").to(head), visual.get_buffer("reach").to(head))

    def logits(self, task: Task, features: Tensor) -> Tensor:
        """s·cos(f, a_c) [B, C]."""
        return task.logits(features, head=task.extras["anchors"])

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        features = task.visual(self.attack(task, batch).net_input)
        logits = self.logits(task, features)
        loss = F.cross_entropy(logits, batch.labels)
        logged = {"robust_accuracy": accuracy(logits, batch.labels)}
        if self.beta:
            with task.frozen_bn_stats():
                clean = task.features(batch.images)
            likeness = F.cosine_similarity(clean, features, dim=1).mean()
            loss, logged["likeness"] = loss - self.beta * likeness, likeness.detach()
        return loss, logged


def angles(head: Tensor, centre: Tensor) -> Tensor:
    """θ [C] of unit vectors [C, D] to the centre [D]; by atan2, exact also where the angle is small."""
    along = head @ centre
    return torch.atan2((head - along[:, None] * centre).norm(dim=1), along)


def expand(head: Tensor, centre: Tensor, reach: Tensor) -> Tensor:
    """Unit vectors [C, D] turned away from the centre, so that the angle `reach` becomes a right one."""
    aside = F.normalize(head - (head @ centre)[:, None] * centre, dim=1)  # 0 for a class at the centre: it stays
    turned = (angles(head, centre) * (math.pi / 2) / reach)[:, None]
    return F.normalize(turned.cos() * centre + turned.sin() * aside, dim=1)

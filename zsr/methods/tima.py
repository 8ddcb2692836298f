"""A TIMA-style reconstruction: text-image mutual awareness (Ma et al., arXiv 2405.17678; AAAI 2026). Abstracts only.

Stage 1, image-aware text: a linear map W (from the identity) makes t~ = W t / |W t|, also for unseen classes, by
    L_IAT = λ1·mean_{j≠k} ||t~_j - t~_k||^-2 + λ2·mean_x KL( softmax(s f_0(x) T) || softmax(s f_0(x) T~) )
minimum hyperspherical energy, and the original's predictions kept; images clean, image tower fixed.
Stage 2, text-aware image: with d_jk = ||t~_j - t~_k||, a margin that is larger between closer classes,
    m_yk = m·(d_max - d_yk)/(d_max - d_min),    z'_k = s·(cos(f(x_a), t~_k) + m_yk) for k ≠ y,  z'_y without
    L = CE(z', y) + λ3·KL( softmax(s f_0(x) T~) || softmax(s f(x_a) T~) )        attack: CE without the margin

From the abstracts: the two stages, the energy, the distillation in both, a margin that grows as classes get closer. All
else is reconstruction: the map (so that unseen classes can follow), the form of margin and distillation, and every
weight. No number of the papers is known: results are this project's. Evaluation uses t~ (`head`), W is saved.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.attacks.core.objectives import kl
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task
from zsr.methods.core.tower_with_buffers import TowerWithBuffers, dimensions, source_features

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet


@dataclass(frozen=True)
class TIMA(AdversarialMethod):
    """TeCoA with an adaptive margin and distillation, towards texts that were moved apart first."""

    own_tensors: ClassVar[bool] = True

    energy: float = 1.0  # λ1
    keep: float = 1.0  # λ2
    distil: float = 1.0  # λ3
    margin: float = 0.1  # m, in units of the cosine
    text_images: int = 20000  # stage 1 sees at most so many source images, the first of the subset
    text_iterations: int = 50  # of L-BFGS

    def wrap(self, visual: nn.Module, seed: int = 0) -> nn.Module:
        return TowerWithBuffers(visual, text_map=torch.eye(dimensions(visual)))

    def head(self, visual: nn.Module, head: Tensor) -> Tensor:
        return mapped(visual.get_buffer("text_map").to(head), head)

    def prepare(self, task: Task, source_set: "SourceSet") -> None:
        features, _ = source_features(task, source_set, self.text_images)
        text_map = torch.eye(task.head.shape[1], device=task.head.device, requires_grad=True)
        before = F.log_softmax(task.logits(features), 1)
        cosines = task.scale * F.normalize(features, dim=1)
        optimizer = torch.optim.LBFGS([text_map], max_iter=self.text_iterations, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            texts = mapped(text_map, task.head)
            kept = kl(before, F.log_softmax(cosines @ texts.T, 1)).mean()
            loss = self.energy * energy(texts) + self.keep * kept
            loss.backward()
            return loss

        optimizer.step(closure)
        task.visual.get_buffer("text_map").copy_(text_map.detach())
        texts = self.head(task.visual, task.head)
        task.extras |= {"texts": texts, "margins": self.margin * closeness(texts)}

    def logits(self, task: Task, features: Tensor) -> Tensor:
        """s·cos(f, t~_c) [B, C]."""
        return task.logits(features, head=task.extras["texts"])

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(task, task.visual(self.attack(task, batch).net_input))  # [B, C]
        loss = F.cross_entropy(logits + task.scale * task.extras["margins"][batch.labels], batch.labels)
        logged = {"robust_accuracy": accuracy(logits, batch.labels)}
        if self.distil:
            original = F.log_softmax(self.logits(task, task.original_features(batch)), 1)
            distance = kl(original, F.log_softmax(logits, 1)).mean()
            loss, logged["distillation"] = loss + self.distil * distance, distance.detach()
        return loss, logged


def mapped(text_map: Tensor, head: Tensor) -> Tensor:
    """t~ [C, D], of unit length."""
    return F.normalize(head @ text_map.T, dim=1)


def squared_distances(texts: Tensor) -> Tensor:
    """||t_j - t_k||^2 [C, C] of unit vectors."""
    return (2 - 2 * texts @ texts.T).clamp_min(1e-6)


def energy(texts: Tensor) -> Tensor:
    """Mean inverse squared distance over pairs j ≠ k."""
    own = torch.eye(len(texts), dtype=torch.bool, device=texts.device)
    return (1 / squared_distances(texts)[~own]).mean()  # 1/0 of the diagonal must not even enter a sum


def closeness(texts: Tensor) -> Tensor:
    """(d_max - d_jk) / (d_max - d_min) over pairs j ≠ k, 0 on the diagonal [C, C]."""
    distances = squared_distances(texts).sqrt()
    own = torch.eye(len(texts), dtype=torch.bool, device=texts.device)
    low, high = distances[~own].min(), distances[~own].max()
    return ((high - distances) / (high - low).clamp_min(1e-6)).masked_fill(own, 0.0)

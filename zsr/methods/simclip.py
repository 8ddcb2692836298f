"""Sim-CLIP: Siamese alignment of adversarial and clean embeddings (Hossain & Imteaj, arXiv 2407.14971).

    D(p, z) = -cos(p, sg z)        L = ½·D( f(x_a), f(x) ) + ½·D( f(x), f(x_a) )        sg: gradient stopped

`paper`: both embeddings are the student's, with a stopped gradient on each side in turn; nothing ties it to the
original but where it starts. `code`: the released script hands the *original's* clean embedding, a constant, to both
terms, so the second has no gradient: L = -cos( f_θ(x_a), f_0(x) ), a FARE with cosines, at half the gradient.
In both the attack climbs FARE's squared distance to the original's clean embedding, as in the script. No label, no
text.

Paper: CLIP ViT-L/14, ImageNet, AdamW 1e-3, weight decay 1e-5, 10,000 steps of 64, PGD-10 at 2 and 4/255, judged inside
LLaVA and OpenFlamingo; no zero-shot table over the sets used here. Reconstruction: the objective of the attack in the
`paper` variant, whose text only says PGD.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from zsr.attacks.core.objectives import feature_distance
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class SimCLIP(AdversarialMethod):
    """Cosine of adversarial and clean embeddings, each side's gradient stopped in turn."""

    needs_labels: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = False

    variant: Literal["paper", "code"] = "paper"

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        original = task.original_features(batch)  # [B, D]
        objective: Callable[[Tensor], Tensor] = lambda features: feature_distance(features, original)  # noqa: E731
        adversarial = task.visual(self.attack(task, batch, objective).net_input)
        if self.variant == "code":
            clean = original
        else:
            with task.frozen_bn_stats():
                clean = task.features(batch.images)
        halves = aligned(adversarial, clean.detach()), aligned(clean, adversarial.detach())
        return (halves[0] + halves[1]) / 2, {}


def aligned(moving: Tensor, held: Tensor) -> Tensor:
    """-cos, mean over the batch."""
    return -F.cosine_similarity(moving, held, dim=1).mean()

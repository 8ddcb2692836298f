"""FARE: unsupervised alignment of embeddings (Schlarmann et al., ICML 2024, arXiv 2402.12336, eq. 3).

    L(x) = max_{|z - x|_inf <= ε} || f_θ(z) - f_0(x) ||_2^2

Features are the projected ones of the class token, not of unit length; the squared distance is a sum over dimensions
and a mean over images. The original's features of the clean image are the target of loss and attack alike, constants.
No label and no text: the tower stays usable with any head.

Paper: ImageNet, AdamW 1e-5, weight decay 1e-4, 20,000 steps of 128, warm-up 1,400, PGD with 10 steps and momentum 0.9,
ε of 2 and 4/255. ViT-B/32 trained at 1/255: 60.5 clean, 38.0 under AutoAttack on 13 sets. On TinyImageNet with the
recipe of TeCoA it is weak (UCAT: 53.00 clean, 2.33 AutoAttack): it wants `attack_steps: 10`, AdamW and many images.
Deviation: the inner attack here is plain PGD, without momentum, as for every other method.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from zsr.attacks.core.objectives import feature_distance
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class FARE(AdversarialMethod):
    """Squared distance of adversarial features to the original's clean ones."""

    needs_labels: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = False

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        target = task.original_features(batch)  # [B, D], once for attack and loss
        objective: Callable[[Tensor], Tensor] = lambda features: feature_distance(features, target)  # noqa: E731
        features = task.visual(self.attack(task, batch, objective).net_input)
        return feature_distance(features, target).mean(), {}

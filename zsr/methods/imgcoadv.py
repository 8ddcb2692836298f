"""ImgCoAdv: contrast of adversarial images with other views of themselves (Mao et al., ICLR 2023, section 4 and A.3).

    L = mean_i -log [ exp(cos(f_θ(x_a,i), v_i)/τ) / Σ_k exp(cos(f_θ(x_a,i), v_k)/τ) ]        v_k = f_θ(view of x_k)

No label, no text: negatives are the other images of the batch. The attack climbs the same loss against constant views.
Full fine-tuning ends at 8.45 clean and 4.65 robust over 16 sets: the alignment with text is lost, by design.

Reconstruction: the views (SimCLR's crop, flip and colour jitter) and τ = 0.07; the paper gives neither. Gradients flow
through both sides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.augmentation import augment
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class ImgCoAdv(AdversarialMethod):
    """InfoNCE of adversarial images with views of the clean ones."""

    needs_labels: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = False

    temperature: float = 0.07  # τ

    def contrast(self, task: Task, features: Tensor, views: Tensor) -> Tensor:
        """Per image [b] of this process, from its features [b, D] and the views of the whole batch [B, D]."""
        cosine = F.normalize(features, dim=1) @ F.normalize(views, dim=1).T  # [b, B]
        own = torch.arange(len(cosine), device=cosine.device) + task.processes.rank * len(cosine)
        return F.cross_entropy(cosine / self.temperature, own, reduction="none")

    @staticmethod
    def views(task: Task, batch: Batch) -> Tensor:
        """Features of one view of each image of the whole batch [B, D]."""
        part = augment(batch.images, task.seed, batch.step, task.processes.rank, task.processes.size)
        return task.processes.gather(task.features(part))

    def objective(self, task: Task, batch: Batch) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():  # the attack has put the network into eval mode
            views = self.views(task, batch)
        return lambda features: self.contrast(task, features, views)

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        features = task.visual(self.attack(task, batch).net_input)
        with task.frozen_bn_stats():
            views = self.views(task, batch)
        return self.contrast(task, features, views).mean(), {}

"""FT-Adv: CLIP's symmetric in-batch contrastive loss on adversarial images, texts frozen.

The adversarial baseline of TGA-ZSR (Yu et al., NeurIPS 2024) and CAW: TinyImageNet, batch 128, PGD-2 with ε = α =
1/255; 43.36 clean, 28.83 PGD-100, 28.28 AutoAttack over 16 sets. As in the authors' `FT.py`, the attack climbs
TeCoA's cross-entropy over all classes, not the contrastive loss that is then minimised.
"""

from dataclasses import dataclass

from torch import Tensor

from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.contrastive_loss import symmetric
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class FTAdv(AdversarialMethod):
    """In-batch contrast of adversarial images with their class texts."""

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = task.logits(task.visual(self.attack(task, batch).net_input))  # [B, C]
        loss = symmetric(task.processes.gather(logits), task.processes.gather(batch.labels))
        return loss, {"robust_accuracy": accuracy(logits, batch.labels)}

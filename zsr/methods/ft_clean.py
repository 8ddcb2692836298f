"""FT-Clean: CLIP's symmetric in-batch contrastive loss on clean images, texts frozen.

The baseline without attack of TGA-ZSR (Yu et al., NeurIPS 2024) and CAW: TinyImageNet, batch 128; 54.37 clean, 7.05
PGD-100, 0.25 AutoAttack over 16 sets. Read from the authors' `FT.py`, their paper does not write the loss out:
L = ½·CE( s·cos(f_i, t_{y_j}) over j, i ) + ½·CE( the same over i, j ).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from zsr.methods.core.base import Method, accuracy
from zsr.methods.core.contrastive_loss import symmetric
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class FTClean(Method):
    """In-batch contrast of clean images with their class texts."""

    attacked: ClassVar[bool] = False

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = task.logits(task.features(batch.images))  # [B, C]
        loss = symmetric(task.processes.gather(logits), task.processes.gather(batch.labels))
        return loss, {"accuracy": accuracy(logits, batch.labels)}

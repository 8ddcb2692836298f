"""FT(CE): fine-tuning on clean images against the class texts, the control without an attack.

TeCoA (Mao et al., ICLR 2023) section 4, Table 3: 63.90 clean, 14.98 robust over 16 sets at ε = 1/255, which shows how
little clean fine-tuning gives. Loss: L = CE(s·cos(f(x), t), y), text frozen. That the classifier is made of the text
embeddings is read from the authors' code (the flag that trains without attack), the paper does not say it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from zsr.methods.core.base import Method, accuracy
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class CE(Method):
    """Cross-entropy of the zero-shot logits of clean images."""

    attacked: ClassVar[bool] = False

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = task.logits(task.features(batch.images))  # [B, C]
        return F.cross_entropy(logits, batch.labels), {"accuracy": accuracy(logits, batch.labels)}

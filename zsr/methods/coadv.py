"""CoAdv: TeCoA with random codes in place of class texts (Mao et al., ICLR 2023, section 4 and A.3, eq. 6).

    L = -log softmax_c( s·cos(f_θ(x_a), e_c) )_y        attack: the same loss

One code e_c per class, drawn once from N(0, 1) and fixed: the contrast is kept, the meaning of the words is not, which
shows what the text is good for: 13.25 clean and 7.83 robust over 16 sets under full fine-tuning. Evaluation is with
text prompts like every other. Reconstruction: that the codes stay fixed, and the temperature (CLIP's s).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet


@dataclass(frozen=True)
class CoAdv(AdversarialMethod):
    """Cross-entropy of adversarial images with a random dictionary."""

    def prepare(self, task: Task, source_set: "SourceSet") -> None:
        generator = torch.Generator().manual_seed(task.seed)
        codes = F.normalize(torch.randn(task.head.shape, generator=generator), dim=1)  # [C, D]
        task.extras["codes"] = codes.to(task.head.device)

    def logits(self, task: Task, features: Tensor) -> Tensor:
        """s·cos(f, e_c) [B, C]."""
        return task.logits(features, head=task.extras["codes"])

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(task, task.visual(self.attack(task, batch).net_input))
        return F.cross_entropy(logits, batch.labels), {"robust_accuracy": accuracy(logits, batch.labels)}

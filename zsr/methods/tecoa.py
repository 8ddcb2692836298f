"""TeCoA: text-guided contrastive adversarial training (Mao et al., ICLR 2023, arXiv 2212.07016, eq. 3-5).

    x_a = argmax_{|x_a - x|_inf <= ε} L(x_a, y; θ)        L = -log softmax_c(s·cos(f_θ(x), t_c))_y

The negatives are all class prompts of the training set, so the loss is cross-entropy with a fixed classifier made of
text (appendix A.5). The text encoder is frozen, clean images never enter the loss.

Paper: CLIP ViT-B/32 on ImageNet, SGD 1e-5, momentum 0.9, 10 epochs, batch 256, warm-up 1000 steps, cosine; PGD-2 with
ε = α = 1/255; 55.97 clean and 38.18 robust (PGD-100) over 16 sets. The temperature is not in the paper; s = 100 is
read from the authors' code. Deviations of that code which are not repeated here: it writes the attack's gradients into
the parameters, encodes all prompts in every step, attacks in train mode, and its default learning rate is 1e-7.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class TeCoA(AdversarialMethod):
    """Cross-entropy of the zero-shot logits of adversarial images."""

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = task.logits(task.visual(self.attack(task, batch).net_input))  # [B, C]
        return F.cross_entropy(logits, batch.labels), {"robust_accuracy": accuracy(logits, batch.labels)}

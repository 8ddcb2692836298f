"""CAW: confidence-aware weighting (Naghavian & Tavassolipour, NeurIPS 2025 workshop, arXiv 2510.02913).

    L = CE(x_a, y) + α·L_CA + β·L_Reg
    L_CA  = mean_i (1 - p_θ(x_a)_y)·KL( p_θ(x_a) || p_0(x) )        L_Reg = mean_i || f_θ(x_a) - f_0(x_a) ||_2

The student's adversarial distribution comes first (the paper's ablation: the reverse is worse), the original's on the
clean image second. The norm is not squared, features are those before comparison with text. One branch is
back-propagated, two forwards of the original have no graph: hence the claim of less memory than PMG-AFT and TGA-ZSR.

Paper: TinyImageNet and 14 zero-shot sets, PGD-2 with ε = 1/255 on cross-entropy, 33.51 under AutoAttack (PMG-AFT 31.55,
TGA-ZSR 31.63 beside it). No code is published. Reconstruction, since the paper does not say: α and β (chosen from
{1, 3, 5} × {0.1, 0.5, 1} on the held-out part of the embedded source set, docs/reconstructions.md), whether gradients
flow through the weight 1 - p_y (they do by default, as in ARoW, `detach_weight` stops them), whether features have unit
length in L_Reg (not by default, `normalise_features`), and the recipe (TGA-ZSR's: SGD 1e-4, batch 128, 10 epochs).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.attacks.core.objectives import kl
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class CAW(AdversarialMethod):
    """TeCoA, held to the original where it is unsure of the label, and in feature space."""

    alpha: float = 1.0  # weight of L_CA
    beta: float = 0.1  # weight of L_Reg
    detach_weight: bool = False
    normalise_features: bool = False

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        net_input = self.attack(task, batch).net_input
        features = task.visual(net_input)  # [B, D]
        logits = task.logits(features)
        loss = F.cross_entropy(logits, batch.labels)
        logged = {"robust_accuracy": accuracy(logits, batch.labels)}
        if self.alpha:
            log_p = F.log_softmax(logits, 1)
            original = F.log_softmax(task.logits(task.original_features(batch)), 1)
            unsure = 1 - log_p.gather(1, batch.labels[:, None]).squeeze(1).exp()  # [B]
            if self.detach_weight:
                unsure = unsure.detach()
            logged["confidence"] = (confidence := (unsure * kl(log_p, original)).mean()).detach()
            loss = loss + self.alpha * confidence
        if self.beta:
            moved, held = features, task.frozen(net_input)  # the second has no graph: neither weights nor input train
            if self.normalise_features:
                moved, held = F.normalize(moved, dim=1), F.normalize(held, dim=1)
            # vector_norm has gradient 0 where both are equal, as at the very start with ε = 0
            logged["drift"] = (drift := torch.linalg.vector_norm((moved - held).float(), dim=1).mean()).detach()
            loss = loss + self.beta * drift
        return loss, logged

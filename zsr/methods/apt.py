"""APT: adversarial prompt tuning of the text (Li et al., CVPR 2024, arXiv 2403.01849).

    min_V mean -log softmax_c( s·cos(f(x_a), g(V_1 … V_M, name_c)) )_y         the image tower does not move

`perturb` says which prompts the attack climbs against: `current` (the learned ones as they are, the paper's default) or
`constant` (hand-written ones). A text alone cannot make an image tower robust: the paper's tower is TeCoA's of the same
ε, `start: tecoa` in the model's entry. On a clean backbone the method is `advtp` under PGD-3.

Paper: ViT-B/32 from TeCoA, M = 16 (M = 1 for "one word"), shared by all classes; SGD 0.002, cosine, batch 32, 200, 100
or 50 epochs by shots; PGD-3 with α = 2ε/3 (`attack_steps: 3, attack_alpha: 0.6667`). One word gains 13 points of
accuracy and 8.5 of robustness at ε = 4/255, the best setting 26.4 and 16.7, over 11 sets (per set, few-shot).

Not offered: a context of its own for each class, which says nothing of other classes, and the variant whose attack
perturbs the prompts too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from zsr.methods.core.task import Batch, Task
from zsr.methods.core.text_prompts import TextPrompts


@dataclass(frozen=True)
class APT(TextPrompts):
    """Cross-entropy of adversarial images; words train."""

    perturb: Literal["current", "constant"] = "current"

    def objective_against(self, task: Task, batch: Batch, texts: Tensor) -> Callable[[Tensor], Tensor]:
        if self.perturb == "current":
            return super().objective_against(task, batch, texts)
        return lambda features: F.cross_entropy(task.logits(features), batch.labels, reduction="none")

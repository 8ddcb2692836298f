"""Dual teacher: a clean and a robust model teach one student, each on its own view. This project's reconstruction.

    L = CE(x_a, y) + α·KL( p_0(x) || p_θ(x) ) + β·KL( p_R(x_a) || p_θ(x_a) )        attack: the cross-entropy

p_0 is the frozen original on the clean image, p_R another model of the config (`teacher`, say a TeCoA of a larger ε) on
the *student's* adversarial image; both are constants, means run over the batch, all logits are at CLIP's s. Gradients
flow through p_θ(x) and p_θ(x_a). The first term is TeCoA's text-guided contrast; weights 0 leave exactly that. A
teacher with class embeddings of its own (laat, tima) is asked with those.

No paper gives this loss for CLIP. The idea, a clean teacher for clean images and a robust one for adversarial ones, is
MTARD's (Zhao et al., ECCV 2022), for small supervised networks, with weights and temperatures balanced in training.
Reconstruction: the contrastive term beside the two, fixed weights α = β = 1, one temperature. No number is known.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.attacks.core.objectives import kl
from zsr.errors import ZsrError
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class DualTeacher(AdversarialMethod):
    """TeCoA with the original's clean and a robust model's adversarial predictions distilled into it."""

    needs_teacher: ClassVar[bool] = True

    alpha: float = 1.0  # weight of the clean teacher
    beta: float = 1.0  # weight of the robust teacher

    def check(self, task: Task) -> None:
        teacher_of(task)

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        net_input = self.attack(task, batch).net_input
        logits = task.logits(task.visual(net_input))  # [B, C]
        loss = F.cross_entropy(logits, batch.labels)
        logged = {"robust_accuracy": accuracy(logits, batch.labels)}
        if self.alpha:
            original = F.log_softmax(task.logits(task.original_features(batch)), 1)
            with task.frozen_bn_stats():
                clean = F.log_softmax(task.logits(task.features(batch.images)), 1)
            logged["clean_teacher"] = (term := kl(original, clean).mean()).detach()
            loss = loss + self.alpha * term
        if self.beta:
            robust = F.log_softmax(self.teacher_logits(task, net_input), 1)
            logged["robust_teacher"] = (term := kl(robust, F.log_softmax(logits, 1)).mean()).detach()
            loss = loss + self.beta * term
        return loss, logged

    @staticmethod
    def teacher_logits(task: Task, net_input: Tensor) -> Tensor:
        """The robust teacher's logits [B, C]; no graph."""
        teacher, head = teacher_of(task)
        with torch.no_grad():
            return task.logits(teacher(net_input), head=head)


def teacher_of(task: Task) -> tuple[nn.Module, Tensor]:
    """The robust teacher, and the class embeddings that it is used with."""
    if task.teacher is None or task.teacher_head is None:
        raise ZsrError("dual-teacher: learns from a second model, this task has none; set `teacher`")
    return task.teacher, task.teacher_head

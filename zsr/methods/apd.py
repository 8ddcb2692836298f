"""APD: adversarial prompt distillation (Luo et al., arXiv 2411.15244; ICASSP 2026), rebuilt from its abstracts.

    student   L_S = KL( p_T(x) || p_S(x_a) ) + λ·CE(x_a, y)         p_T constant; attack: CE of the student
    teacher   L_T = CE_T(x, y) + γ·KL( p_S(x_a) || p_T(x) )         p_S constant; `online` only

The student is a frozen CLIP with independent prompts in both towers; it learns under attack what a teacher that never
saw one makes of the clean image. `online`: the same CLIP with clean prompts of its own, trained beside the student.
`offline`: the CLIP itself, its class texts written by hand, so that nothing of the teacher trains.

Established by the abstracts: prompts in both towers, distillation from a clean teacher that is not robust, online is
the final form (the first version was offline), better than APT and its kin on clean and adversarial images. All else
is reconstruction, after the co-author's code for multimodal adversarial prompts (AdvIVLP) and plain distillation:
both losses, λ = 1, γ = 0 (no feedback from student to teacher), M = 2, J = 9, "a photo of a", one optimiser for both;
SGD 0.0035, cosine, batch 32, 16 shots, 100 epochs, PGD-2 with ε = α = 1/255. No number of the paper is known here.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.attacks.core.objectives import kl
from zsr.methods.core.base import accuracy
from zsr.methods.core.prompt_vectors import Bimodal, bimodal
from zsr.methods.core.task import Batch, Task
from zsr.methods.core.text_prompts import BimodalPrompts
from zsr.models.prompted_text_tower import TextTower


@dataclass(frozen=True)
class APD(BimodalPrompts):
    """Distillation from a clean teacher's prediction of the clean image to the student's of the adversarial one."""

    teacher: Literal["online", "offline"] = "online"
    label: float = 1.0  # λ
    feedback: float = 0.0  # γ, online only

    def wrap(  # type: ignore[override]  # who trains text is given its tower (`trains_text`)
        self, visual: nn.Module, seed: int = 0, *, text: TextTower
    ) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        sets = {"prompts": self.draw(visual, text, generator)}
        if self.teacher == "online":
            sets["teacher"] = self.draw(visual, text, generator)
        return Bimodal(visual, **sets)

    def teacher_logits(self, task: Task, batch: Batch) -> Tensor:
        """The teacher's logits of the clean images [B, C]; with gradient if it trains."""
        if self.teacher == "offline":
            return task.logits(task.original_features(batch))
        student = bimodal(task.visual)
        features = student.see(task.normalise(batch.images), student.teacher)
        return task.logits(features, head=self.texts(task, student.teacher))

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        texts = self.texts(task)
        net_input = self.attack(task, batch, self.objective_against(task, batch, texts)).net_input
        adversarial = task.logits(task.visual(net_input), head=texts)
        clean = self.teacher_logits(task, batch)
        student, teacher = F.log_softmax(adversarial, 1), F.log_softmax(clean, 1)
        distance = kl(teacher.detach(), student).mean()
        logged = {"robust_accuracy": accuracy(adversarial, batch.labels), "teacher": accuracy(clean, batch.labels)}
        loss = distance + self.label * F.cross_entropy(adversarial, batch.labels) if self.label else distance
        if self.teacher == "online":
            loss = loss + F.cross_entropy(clean, batch.labels)
            if self.feedback:
                loss = loss + self.feedback * kl(student.detach(), teacher).mean()
        return loss, {**logged, "distillation": distance.detach()}

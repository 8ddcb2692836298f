"""Base of the methods that train on adversarial images: the inner attack, and what it maximises."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from zsr.attacks.core.training_attack import Perturbed, perturb
from zsr.methods.core.base import Method
from zsr.methods.core.task import Batch, Task


@dataclass(frozen=True)
class AdversarialMethod(Method):
    """PGD inside training: K steps of α, random start, last iterate, the network in eval mode."""

    def logits(self, task: Task, features: Tensor) -> Tensor:
        """The logits [B, C] of features [B, D] under attack; those of the class embeddings unless overridden."""
        return task.logits(features)

    def objective(self, task: Task, batch: Batch) -> Callable[[Tensor], Tensor]:
        """What the attack climbs, from features [B, D] to one value per image [B]; cross-entropy unless overridden."""
        return lambda features: F.cross_entropy(self.logits(task, features), batch.labels, reduction="none")

    def attack(self, task: Task, batch: Batch, objective: Callable[[Tensor], Tensor] | None = None) -> Perturbed:
        """Adversarial images `.x`, and `.net_input`, the same normalised: the last step has already done that.

        A loss that shares something with its attack (a teacher's features) computes it once and hands `objective` in.
        """
        training = task.visual.training
        task.visual.eval()  # BatchNorm's statistics belong to the update; what is attacked is what will be evaluated
        try:
            return perturb(
                task.visual,
                batch.images,
                objective or self.objective(task, batch),
                eps=task.eps,
                steps=task.attack_steps,
                step_size=task.attack_alpha * task.eps,
                mean=task.mean_tensor,
                std=task.std_tensor,
                keys=batch.keys,
                seed=task.seed,
                counter=batch.step,
                kernels=task.kernels,
                loss_scale=task.attack_scale,
            )
        finally:
            task.visual.train(training)

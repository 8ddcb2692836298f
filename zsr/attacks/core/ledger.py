"""The ledger: what is known about every image while it is attacked."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zsr.attacks.core.gradient_signs import Facts
from zsr.attacks.core.out_of_memory import Passes
from zsr.attacks.core.verdicts import Verdicts


@dataclass
class Ledger:
    """One row per image, on the device of the images given. `Scorer` opens it and writes verdicts into it."""

    x: Tensor  # [N, C, H, W], float32 or uint8, as given
    y: Tensor  # [N]
    keys: Tensor  # [N] int64
    clean: Tensor  # [N] prediction
    clean_margin: Tensor
    clean_logits: Tensor  # [N, C]
    robust: Tensor  # bool
    prediction: Tensor  # of the example below
    margin: Tensor
    step: Tensor  # as in Verdicts
    distance: Tensor
    x_adv: Tensor | None  # the example that fooled it, or the closest attempt
    fooled_by: list[str]
    tried: Tensor  # iterates tried so far, all rounds
    needed: int = 0  # image-passes that images under attack needed: the least that could be spent
    unconfirmed: set[int] = field(default_factory=set)  # images that a pass fooled and float32 did not confirm

    def still_robust(self) -> Tensor:
        """The indices of the images that no attack has fooled yet."""
        return torch.nonzero(self.robust).flatten()

    def to_verdicts(self, *, passes: Passes, notes: list[str], signs: dict[str, Facts]) -> Verdicts:
        """The verdicts after the attack's last round."""
        return Verdicts(
            robust=self.robust,
            x_adv=self.x_adv,
            prediction=self.prediction,
            clean=self.clean,
            margin=self.margin,
            clean_margin=self.clean_margin,
            step=self.step,
            distance=self.distance,
            passes=passes,
            attack=self.fooled_by,
            notes=notes,
            overhead=(passes.forward + passes.backward) / max(self.needed, 1),
            signs=signs,
            unconfirmed=sum(bool(self.robust[i]) for i in self.unconfirmed),
        )

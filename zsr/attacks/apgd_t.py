"""APGD on the targeted difference of logits ratio, one target class after the other.

Targets are the classes that the clean logits rank highest after the label. Below four classes the ratio is undefined:
the margin to the target, unscaled, takes over.
"""

from dataclasses import dataclass
from typing import ClassVar

from zsr.attacks.apgd_ce import APGDCE
from zsr.attacks.core.objectives import Objective, TargetedDifference, TargetedDLR


@dataclass(frozen=True)
class APGDT(APGDCE):
    """`targets` is cut to the number of other classes."""

    label: ClassVar[str] = "APGD-T"
    min_classes: ClassVar[int] = 4

    targets: int = 9

    def objectives(self, classes: int) -> list[Objective]:
        kind = TargetedDLR if classes >= self.min_classes else TargetedDifference
        return [kind(rank) for rank in range(1, min(self.targets, classes - 1) + 1)]

    def notes(self, norm: str, classes: int, name: str) -> list[str]:
        notes = []
        if classes < self.min_classes:
            notes.append(f"{name}: the targeted DLR loss needs 4 classes, has {classes}; logit difference instead")
        if classes - 1 < self.targets:
            notes.append(f"{name}: {classes - 1} target classes instead of {self.targets}, there are no more")
        return notes

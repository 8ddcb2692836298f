"""APGD on the difference of logits ratio. Below three classes that ratio is undefined: the cross-entropy takes over."""

from dataclasses import dataclass
from typing import ClassVar

from zsr.attacks.apgd_ce import APGDCE
from zsr.attacks.core.objectives import DLR, CrossEntropy, Objective


@dataclass(frozen=True)
class APGDDLR(APGDCE):
    """APGD-CE's settings."""

    label: ClassVar[str] = "APGD-DLR"
    min_classes: ClassVar[int] = 3

    def objectives(self, classes: int) -> list[Objective]:
        return [DLR() if classes >= self.min_classes else CrossEntropy()]

    def notes(self, norm: str, classes: int, name: str) -> list[str]:
        few = f"{name}: the DLR loss needs 3 classes, has {classes}; cross-entropy instead"
        return [few] if classes < self.min_classes else []

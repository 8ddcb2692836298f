"""FAB with one target class after the other (Croce & Hein 2020): one backward per iteration whatever the classes."""

from dataclasses import dataclass
from typing import ClassVar

from zsr.attacks.core.objectives import Objective, TargetedDifference
from zsr.attacks.fab import FAB


@dataclass(frozen=True)
class FABT(FAB):
    """`targets` is cut to the number of other classes."""

    label: ClassVar[str] = "FAB-T"

    restarts: int = 1
    targets: int = 9

    def objectives(self, classes: int) -> list[Objective]:
        return [TargetedDifference(rank) for rank in range(1, min(self.targets, classes - 1) + 1)]

    def notes(self, norm: str, classes: int, name: str) -> list[str]:
        few = f"{name}: {classes - 1} target classes instead of {self.targets}, there are no more"
        return [few] if classes - 1 < self.targets else []

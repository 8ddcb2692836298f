"""What the zero-shot robustness papers call AutoAttack: APGD-CE and APGD-DLR, one restart each.

TeCoA, PMG-AFT, TGA-ZSR and their heirs overwrite `attacks_to_run` with these two; on sets of two classes, where the
DLR loss is undefined, they run APGD-CE alone, and so does this attack. Weaker than `autoattack`: say which one you ran.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from zsr.attacks.apgd_ce import APGDCE
from zsr.attacks.apgd_dlr import APGDDLR
from zsr.attacks.core.base import Attack
from zsr.attacks.core.schedule import Round
from zsr.attacks.core.threat import Threat


@dataclass(frozen=True)
class AutoAttackPapers(Attack):
    """100 iterations each."""

    label: ClassVar[str] = "AA (CE+DLR)"

    steps: int = 100

    def rounds(self, threat: Threat, classes: int, name: str) -> list[Round]:
        rounds = APGDCE(self.steps).rounds(threat, classes, "apgd-ce")
        if classes >= APGDDLR.min_classes:
            rounds += APGDDLR(self.steps).rounds(threat, classes, "apgd-dlr")
        return [replace(r, stream=k) for k, r in enumerate(rounds)]

    def notes(self, norm: str, classes: int, name: str) -> list[str]:
        return [f"{name}: apgd-ce alone, the DLR loss needs 3 classes"] if classes < APGDDLR.min_classes else []

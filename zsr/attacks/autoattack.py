"""AutoAttack, version `standard` (Croce & Hein 2020): APGD-CE, APGD-T, FAB-T, Square, each on what is still robust.

The authors' numbers: 100 iterations, 9 target classes, 5000 queries; in L1 five restarts of APGD-CE and 5 target
classes for APGD-T. An image leaves as soon as a float32 forward confirms that it is fooled, also inside an attack.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from zsr.attacks.apgd_ce import APGDCE
from zsr.attacks.apgd_t import APGDT
from zsr.attacks.core.base import Attack
from zsr.attacks.core.schedule import Round
from zsr.attacks.core.threat import Threat
from zsr.attacks.fab_t import FABT
from zsr.attacks.square import Square


@dataclass(frozen=True)
class AutoAttack(Attack):
    """`steps` and `queries` shorten all parts alike; the defaults are the authors'. `eot` averages the passes of APGD
    and every verdict; FAB and Square pass once."""

    label: ClassVar[str] = "AutoAttack"

    steps: int = 100
    targets: int = 9
    queries: int = 5000
    eot: int = 1

    def parts(self, norm: str) -> dict[str, Attack]:
        """The attacks, in order, by the name that `Verdicts.attack` gives for the images they fool."""
        l1 = norm == "l1"
        return {
            "apgd-ce": APGDCE(self.steps, restarts=5 if l1 else 1, eot=self.eot),
            "apgd-t": APGDT(self.steps, eot=self.eot, targets=min(self.targets, 5) if l1 else self.targets),
            "fab-t": FABT(self.steps, targets=self.targets),
            "square": Square(self.queries),
        }

    def rounds(self, threat: Threat, classes: int, name: str) -> list[Round]:
        rounds = [r for part, a in self.parts(threat.norm).items() for r in a.rounds(threat, classes, part)]
        return [replace(r, stream=k) for k, r in enumerate(rounds)]  # no two rounds share random numbers

    def notes(self, norm: str, classes: int, name: str) -> list[str]:
        return [note for part, a in self.parts(norm).items() for note in a.notes(norm, classes, part)]

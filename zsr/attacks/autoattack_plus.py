"""AutoAttack, version `plus`: five restarts of APGD-CE and APGD-DLR, FAB and Square, then the targeted attacks."""

from dataclasses import dataclass
from typing import ClassVar

from zsr.attacks.apgd_ce import APGDCE
from zsr.attacks.apgd_dlr import APGDDLR
from zsr.attacks.apgd_t import APGDT
from zsr.attacks.autoattack import AutoAttack
from zsr.attacks.core.base import Attack
from zsr.attacks.fab import FAB
from zsr.attacks.fab_t import FABT
from zsr.attacks.square import Square


@dataclass(frozen=True)
class AutoAttackPlus(AutoAttack):
    """AutoAttack's settings. Untargeted FAB costs one backward per class and iteration."""

    label: ClassVar[str] = "AutoAttack+"

    restarts: int = 5

    def parts(self, norm: str) -> dict[str, Attack]:
        return {
            "apgd-ce": APGDCE(self.steps, self.restarts, eot=self.eot),
            "apgd-dlr": APGDDLR(self.steps, self.restarts, eot=self.eot),
            "fab": FAB(self.steps, self.restarts),
            "square": Square(self.queries),
            "apgd-t": APGDT(self.steps, eot=self.eot, targets=self.targets),
            "fab-t": FABT(self.steps, targets=self.targets),
        }

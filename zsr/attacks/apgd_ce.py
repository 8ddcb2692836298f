"""APGD on the cross-entropy: the first attack of AutoAttack, and of the papers' subset."""

from dataclasses import dataclass
from typing import ClassVar

from zsr.attacks.core.apgd_l1_schedule import SparseSteps
from zsr.attacks.core.apgd_schedule import AdaptiveSteps
from zsr.attacks.core.base import Attack
from zsr.attacks.core.objectives import CrossEntropy, Objective
from zsr.attacks.core.schedule import Round, Schedule
from zsr.attacks.core.threat import Threat


@dataclass(frozen=True)
class APGDCE(Attack):
    """`eot`: gradients and verdicts averaged over so many forwards, for defences that draw random numbers."""

    label: ClassVar[str] = "APGD-CE"

    steps: int = 100
    restarts: int = 1
    rho: float = 0.75
    eot: int = 1

    def objectives(self, classes: int) -> list[Objective]:
        """One round for each, for each restart."""
        return [CrossEntropy()]

    def schedule(self, threat: Threat) -> Schedule:
        return SparseSteps(self.steps) if threat.norm == "l1" else AdaptiveSteps(self.steps, self.rho)

    def rounds(self, threat: Threat, classes: int, name: str) -> list[Round]:
        schedule = self.schedule(threat)
        pairs = [o for o in self.objectives(classes) for _ in range(self.restarts)]
        return [Round(name, schedule, objective, stream, self.eot) for stream, objective in enumerate(pairs)]

"""PGD on the divergence from the clean prediction: TRADES' inner attack (Zhang et al. 2019), label-free.

    climb KL(p(x0) || p(x))

The gradient is zero at x0 itself, so the start must be random.
"""

from dataclasses import dataclass
from typing import ClassVar

from zsr.attacks.core.objectives import KL, Objective
from zsr.attacks.pgd import PGD


@dataclass(frozen=True)
class TPGD(PGD):
    """PGD's settings."""

    label: ClassVar[str] = "TPGD"

    def objective(self) -> Objective:
        return KL()

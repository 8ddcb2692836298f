"""PGD on the Carlini-Wagner margin, as the zero-shot robustness papers call "CW".

    climb -relu(z_y - max_{j != y} z_j + kappa)

kappa = 50 in the TeCoA family, 0 in APT. With kappa = 0 the gradient of an image vanishes as soon as it is wrong, which
ends the attack under `verdict="any"` and lets it stall at the boundary under `"last"`. This is not the L2 attack of
Carlini & Wagner (2017), which minimises the distance with Adam.
"""

from dataclasses import dataclass
from typing import ClassVar

from zsr.attacks.core.objectives import Margin, Objective
from zsr.attacks.pgd import PGD


@dataclass(frozen=True)
class CW(PGD):
    """PGD's settings, and the confidence kappa."""

    label: ClassVar[str] = "CW"

    kappa: float = 50.0

    def objective(self) -> Objective:
        return Margin(self.kappa)

"""Attacks on any model from images in [0, 1] to logits: one function, verdicts that hold.

    from zsr.attacks import attack
    verdicts = attack(model, x, y, "autoattack", norm="linf", eps=1/255, seed=0, batch_size=64)
    verdicts.robust.float().mean()

Attacks are found by name (`zsr.registry`); this package imports none of them, so that a result depends on the code of
the attack that made it and on no other's. `AutoAttack` is the drop-in class for users of the authors' package.
"""

from typing import TYPE_CHECKING

from zsr.attacks.api import attack
from zsr.attacks.core.out_of_memory import Passes
from zsr.attacks.core.training_attack import Perturbed, perturb
from zsr.attacks.core.verdicts import Verdicts
from zsr.attacks.core.victim import Normalized

if TYPE_CHECKING:
    from zsr.attacks.autoattack_dropin import AutoAttack

__all__ = ["AutoAttack", "Normalized", "Passes", "Perturbed", "Verdicts", "attack", "perturb"]


def __getattr__(name: str) -> object:
    if name == "AutoAttack":  # by name, on demand: results do not depend on the drop-in's code
        import importlib

        return importlib.import_module(
            f"{__name__}.autoattack_dropin"
        ).AutoAttack  # a literal name would count as an import
    raise AttributeError(f"module 'zsr.attacks' has no attribute '{name}'")

"""Transfer: examples made on another model and scored on this one; the attack on models without a gradient.

PGD with momentum (MI-FGSM, Dong et al. 2018) climbs the cross-entropy of the surrogate for all steps, also after the
surrogate is fooled; the last iterate is scored on the model under attack.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from zsr.attacks.core.engine import Engine
from zsr.attacks.core.ledger import Ledger
from zsr.attacks.core.threat import Threat
from zsr.attacks.core.victim import Victim
from zsr.attacks.pgd import PGD
from zsr.errors import ZsrError


@dataclass(frozen=True)
class Transfer(PGD):
    """PGD's settings; `surrogate` is the model that the examples are made on (`Normalized` or any callable)."""

    label: ClassVar[str] = "Transfer"
    last_iterate: ClassVar[bool] = False

    surrogate: object = None
    steps: int = 50
    momentum: float = 1.0

    def run(self, engine: Engine, ledger: Ledger, name: str) -> list[str]:
        if not callable(self.surrogate):
            raise ZsrError(f"attack '{name}' needs surrogate=, the model on which examples are made")
        surrogate = Victim(self.surrogate, device=engine.victim.device)
        threat = Threat(engine.threat.norm, engine.threat.eps, surrogate.normalisation, engine.threat.kernels)
        with surrogate.frozen():
            maker = Engine(surrogate, threat, engine.shapes, seed=engine.seed, verdict="last")
            made = maker.scorer.open(ledger.x, ledger.y, ledger.keys)
            assert made.x_adv is not None
            for round_ in self.rounds(threat, made.clean_logits.shape[1], name):
                made.robust[:] = ledger.robust  # attack the images that are robust on the model under attack
                made.margin.fill_(torch.inf)  # and keep the last iterate, whatever the surrogate model predicts for it
                maker.run(made, round_)
                self._score(engine, ledger, made.x_adv, name)
        engine.victim.passes.forward += surrogate.passes.forward
        engine.victim.passes.backward += surrogate.passes.backward
        ledger.needed += surrogate.passes.forward + surrogate.passes.backward
        return [f"{name}: passes on the surrogate model included"]

    def _score(self, engine: Engine, ledger: Ledger, x_adv: Tensor, name: str) -> None:
        """Score the examples of the images that are still robust on the model under attack."""
        robust = ledger.still_robust()
        for images in torch.split(robust, engine.shapes.batch_size) if len(robust) else ():  # none: one empty part
            examples = x_adv[images].to(engine.victim.device)
            iterates = [self.steps + 1] * len(images)
            engine.scorer.score(ledger, name, images.tolist(), examples, iterates, final=True)

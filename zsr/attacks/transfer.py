"""Transfer: examples made on another model, judged on this one; the attack on models without a gradient.

PGD with momentum (MI-FGSM, Dong et al. 2018) climbs the cross-entropy of the source model for all steps, whatever the
source thinks of the image on the way; the last iterate is scored on the model under attack.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from zsr.attacks.core.engine import Engine
from zsr.attacks.core.ledger import Ledger
from zsr.attacks.core.threat import Threat
from zsr.attacks.core.victim import Victim
from zsr.attacks.pgd import PGD
from zsr.errors import ZsrError


@dataclass(frozen=True)
class Transfer(PGD):
    """PGD's settings; `source` is the model that the examples are made on (`Normalized` or any callable)."""

    label: ClassVar[str] = "Transfer"
    last_iterate: ClassVar[bool] = False

    source: object = None
    steps: int = 50
    momentum: float = 1.0

    def run(self, engine: Engine, ledger: Ledger, name: str) -> list[str]:
        if not callable(self.source):
            raise ZsrError(f"attack '{name}' needs source=, the model on which examples are made")
        source = Victim(self.source, device=engine.victim.device)
        threat = Threat(engine.threat.norm, engine.threat.eps, source.inlet, engine.threat.kernels)
        with source.frozen():
            maker = Engine(
                source, threat, seed=engine.seed, batch_size=engine.batch_size, verdict="last", shapes=engine.shapes
            )
            made = maker.open(ledger.x, ledger.y, ledger.keys)
            for this in self.rounds(threat, made.clean_logits.shape[1], name):
                made.robust[:] = ledger.robust  # attack what stands on the model under attack
                made.margin.fill_(torch.inf)  # and keep the last iterate, whatever the source thinks of it
                maker.run(made, this)
                self._judge(engine, ledger, made, name)
        engine.victim.passes.forward += source.passes.forward
        engine.victim.passes.backward += source.passes.backward
        engine.needed += source.passes.forward + source.passes.backward
        return [f"{name}: passes on the source model included"]

    def _judge(self, engine: Engine, ledger: Ledger, made: Ledger, name: str) -> None:
        standing = torch.nonzero(ledger.robust).flatten()
        for part in standing.split(engine.batch_size) if len(standing) else ():  # nothing splits into one empty part
            examples = made.x_adv[part].to(engine.victim.device)
            engine.score(ledger, name, part.tolist(), examples, [self.steps + 1] * len(part), final=True)

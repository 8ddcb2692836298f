"""The base of every attack: settings in, rounds out.

An attack is one file with one dataclass derived from `Attack`; its fields, all with literal defaults, are its settings
(the plan reads them without importing torch). It answers one question: which rounds of the engine does it consist of?
"""

from dataclasses import dataclass, fields
from typing import ClassVar

from zsr.attacks.core.engine import Engine
from zsr.attacks.core.ledger import Ledger
from zsr.attacks.core.schedule import Round
from zsr.attacks.core.threat import Threat
from zsr.epsilon import check_counts


@dataclass(frozen=True)
class Attack:
    """Settings of an attack; `label` is its name in tables."""

    label: ClassVar[str] = ""
    min_classes: ClassVar[int] = 2  # an objective that is undefined below this number of classes
    last_iterate: ClassVar[bool] = False  # whether the verdict 'last' exists for this attack
    eot = 1  # draws that are averaged, for attacks without such a field; a ClassVar would move theirs to the front

    def __post_init__(self) -> None:
        check_counts({f.name: getattr(self, f.name) for f in fields(self)}, f"attack '{self.label}'")

    def rounds(self, threat: Threat, classes: int, name: str) -> list[Round]:
        """The rounds, in order; `classes` is the number of logits."""
        raise NotImplementedError

    def notes(self, norm: str, classes: int, name: str) -> list[str]:
        """What a reader of the result must know: rules that were applied for this norm and number of classes."""
        return []

    def run(self, engine: Engine, ledger: Ledger, name: str) -> list[str]:
        """Attack all images of the ledger; returns the notes."""
        classes = ledger.clean_logits.shape[1]
        for round_ in self.rounds(engine.threat, classes, name):
            engine.run(ledger, round_)
        return self.notes(engine.threat.norm, classes, name)

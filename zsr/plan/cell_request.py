"""One cell as the config asks for it: a model on a set under an attack at one ε."""

from dataclasses import dataclass
from fractions import Fraction

from zsr.config.entries import AttackEntry, ModelEntry, ProtocolEntry
from zsr.epsilon import eps_text


@dataclass(frozen=True)
class CellRequest:
    """What the config asks for with one cell. The spec leaves its names out, since they change no number."""

    protocol: ProtocolEntry
    model: ModelEntry
    backbone: str
    seed: int
    dataset: str
    attack: AttackEntry
    eps: Fraction

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for requests of the same cell; settings are mappings, so that the request itself has no hash."""
        names = self.protocol.name, self.model.name, self.backbone, self.seed, self.dataset, self.attack.name
        return *names, self.eps

    @property
    def train_eps(self) -> str | None:
        """ε of the fine-tuning, 0 where it saw clean images alone, None where there was none."""
        if self.model.published:
            return eps_text(self.model.published.eps)
        if not self.model.trains:
            return None
        return eps_text(self.model.eps) if self.model.attacked else "0"

    @property
    def trained_on(self) -> str | None:
        """The set that fine-tuning saw, None where there was none."""
        if self.model.published:
            return self.model.published.trained_on
        return self.model.source_set.dataset if self.model.trains else None

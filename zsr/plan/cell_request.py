"""One cell as the config asks for it: a model on a set under an attack at one ε."""

from dataclasses import dataclass
from fractions import Fraction

from zsr.epsilon import eps_text


@dataclass(frozen=True)
class CellRequest:
    """What the config asks for with one cell. The spec leaves its names out, since they change no number."""

    protocol: dict
    entry: dict  # of `models`
    backbone: str
    seed: int
    dataset: str
    attack: dict
    eps: Fraction

    @property
    def train_eps(self) -> str | None:
        """ε of the fine-tuning, 0 where it saw clean images alone, None where there was none."""
        if "published" in self.entry:
            return eps_text(self.entry["published"]["eps"])
        if not self.entry["trains"]:
            return None
        return eps_text(self.entry["eps"]) if self.entry["attacked"] else "0"

    @property
    def trained_on(self) -> str | None:
        """The set that fine-tuning saw, None where there was none."""
        if "published" in self.entry:
            return self.entry["published"]["trained_on"]
        return self.entry["source"]["dataset"] if self.entry["trains"] else None

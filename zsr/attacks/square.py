"""Square attack (Andriushchenko et al. 2020): random search over square patches, forward passes alone.

L-infinity: start with vertical stripes of +-eps; each query repaints a random square with x0 +- eps, one sign per
channel, and keeps it if the margin falls. Patches shrink as the queries go by (`side`). Each image draws its own squares
from its own stream, where the authors' code draws one for the whole batch, so that an image's verdict does not depend on
its company; the last row and column can be hit too (their code never reaches them). L2 and L1: `square_patches.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from zsr.attacks.base import Attack
from zsr.attacks.engine import Round, Schedule, Seen, State
from zsr.attacks.objectives import Objective, margins
from zsr.attacks.square_patches import PatchSteps, share, side, window
from zsr.attacks.threat import Threat
from zsr_kernels import reference


@dataclass(frozen=True)
class NegativeMargin(Objective):
    """-(z_y - max_{j != y} z_j): the search climbs it, so it lowers the margin."""

    def __call__(self, logits: Tensor, y: Tensor, aux: dict) -> Tensor:
        return -margins(logits.float(), y)


@dataclass(frozen=True)
class SquareSteps(Schedule):
    """Random search in L-infinity. Age 0 is the stripes, age k the k-th query."""

    steps: int = 5000
    p_init: float = 0.8
    needs_gradient: bool = False

    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        x0 = reference.pixels(state["x0"])
        b, c, _, w = x0.shape
        first, second = reference.stream_keys(state["key"], seed, stream)
        high, low = (x0 + threat.eps).clamp(0.0, 1.0), (x0 - threat.eps).clamp(0.0, 1.0)
        stripes = reference.draw(first, second, torch.arange(c * w, dtype=torch.int32, device=x0.device))
        x = torch.where((stripes < 0.5).view(b, c, 1, w), high, low)
        return {
            "x": x, "net": threat.inlet(x, threat.kernels), "best": x, "best_loss": torch.full((b,), -torch.inf, device=x0.device),
            "high": high, "low": low, "first": first, "second": second,
        }  # fmt: skip

    def advance(self, threat: Threat, state: State, seen: Seen) -> None:
        s = state
        _, c, h, w = s["x"].shape
        better = seen.loss > s["best_loss"]
        s["best"] = reference.select(better, s["x"], s["best"])
        s["best_loss"] = torch.where(better, seen.loss, s["best_loss"])
        device = s["x"].device
        sides = [side(share(max(age, 0), self.p_init), h, w, 1) for age in seen.age]
        sizes = torch.tensor(sides, device=device)[:, None]
        count = c + 2
        position = torch.tensor(seen.age, dtype=torch.int32, device=device)[:, None] * count + c * w
        u = reference.draw(s["first"], s["second"], position + torch.arange(count, dtype=torch.int32, device=device))
        top, left = (u[:, :1] * (h - sizes + 1)).long(), (u[:, 1:2] * (w - sizes + 1)).long()
        inside = window(top, sizes, h)[:, None, :, None] & window(left, sizes, w)[:, None, None, :]
        painted = torch.where((u[:, 2:] < 0.5)[:, :, None, None], s["high"], s["low"])
        s["x"] = torch.where(inside, painted, s["best"])
        s["net"] = threat.inlet(s["x"], threat.kernels)


@dataclass(frozen=True)
class Square(Attack):
    """The authors' settings in AutoAttack."""

    label: ClassVar[str] = "Square"

    queries: int = 5000
    p_init: float = 0.8
    restarts: int = 1

    def rounds(self, threat: Threat, classes: int, name: str) -> list[Round]:
        kind = SquareSteps if threat.norm == "linf" else PatchSteps
        return [Round(name, kind(self.queries, self.p_init), NegativeMargin(), k) for k in range(self.restarts)]

"""Square attack (Andriushchenko et al. 2020): random search over square patches, forward passes alone.

L-infinity: start with vertical stripes of +-eps; each query repaints a random square with x0 +- eps, one sign per
channel, and keeps it if the margin falls. Patches shrink as the queries go by (`sides`). Each image draws its squares
from its own stream, so that its verdict does not depend on the other images (the authors' code draws one for the whole
batch). The last row and column can be hit too (their code never reaches them). L2 and L1: `square_patches.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from zsr.attacks.core.base import Attack
from zsr.attacks.core.objectives import Aux, Objective, margins
from zsr.attacks.core.schedule import PassResult, Round, Schedule, State, sent
from zsr.attacks.core.square_patches import PatchSteps, along, images, patch, sides
from zsr.attacks.core.threat import Threat
from zsr_kernels import draws, reference


@dataclass(frozen=True)
class NegativeMargin(Objective):
    """-(z_y - max_{j != y} z_j): the search climbs it, so it lowers the margin."""

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        return -margins(logits.float(), y)


@dataclass(frozen=True)
class SquareSteps(Schedule):
    """Random search in L-infinity. Age 0 is the stripes, age k the k-th query."""

    steps: int = 5000
    p_init: float = 0.8
    needs_gradient: bool = False

    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        x0 = images(state["x0"])
        b, c, _, w = x0.shape
        first, second = draws.stream_keys(state["key"], seed, stream)
        stripes = draws.draw(first, second, torch.arange(c * w, dtype=torch.int32, device=x0.device))
        signs = torch.where(stripes < 0.5, threat.eps, -threat.eps).view(b, c, 1, w)
        x = (x0 + signs).clamp(0.0, 1.0)
        return {
            "x": x,
            "net": threat.enter(x),
            "best": x.clone(),
            "best_loss": torch.full((b,), -torch.inf, device=x0.device),
            "first": first,
            "second": second,
        }

    def advance(self, threat: Threat, state: State, result: PassResult) -> None:
        s = state
        reference.keep_rows(result.loss > s["best_loss"], s["x"], s["best"])
        s["best_loss"] = torch.maximum(result.loss, s["best_loss"])
        c, h, w = s["x"].shape[1:]
        device, count = s["x"].device, c + 2
        age = sent(result.age, device, torch.int32)[:, None]
        position = age * count + torch.arange(c * w, c * w + count, dtype=torch.int32, device=device)
        u = draws.draw(s["first"], s["second"], position)  # row, column, a sign per channel
        patch = self._patch(u, result.age, h, w)[:, None].expand(-1, c, -1)
        signs = torch.where(u[:, 2:] < 0.5, threat.eps, -threat.eps)[:, :, None]
        painted = (reference.pixels(s["x0"].flatten(2).gather(2, patch)) + signs).clamp(0.0, 1.0)
        s["x"] = s["best"].flatten(2).scatter(2, patch, painted).view_as(s["best"])
        s["net"] = threat.enter(s["x"])

    def _patch(self, u: Tensor, age: list[int], h: int, w: int) -> Tensor:
        """The pixels of each image's patch, [B, n]."""
        table = sides(self.steps, self.p_init, h, w)
        mine = [table[a] for a in age]
        size = sent(mine, u.device)[:, None]
        top, left = ((u[:, k : k + 1] * (n - size + 1)).long() for k, n in enumerate((h, w)))
        return patch(top, left, along(size, max(mine)), w)


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

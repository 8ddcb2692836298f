"""Square attack (Andriushchenko et al. 2020): random search over square patches, forward passes alone.

L-infinity: start with vertical stripes of +-eps; each query repaints a random square with x0 +- eps, one sign per
channel, and keeps it if the margin falls. Patches shrink as the queries go by (`sides`). Each image draws its squares
from its own stream, where the authors' code draws one for the whole batch: an image's verdict must not depend on its
company. The last row and column can be hit too (their code never reaches them). L2 and L1: `square_patches.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from zsr.attacks.base import Attack
from zsr.attacks.engine import Round, Schedule, Seen, State
from zsr.attacks.objectives import Objective, margins
from zsr.attacks.square_patches import PatchSteps, sides
from zsr.attacks.threat import Threat
from zsr_kernels import reference


@dataclass(frozen=True)
class NegativeMargin(Objective):
    """-(z_y - max_{j != y} z_j): the search climbs it, so it lowers the margin."""

    def __call__(self, logits: Tensor, y: Tensor, aux: dict) -> Tensor:
        return -margins(logits.float(), y)


@dataclass(frozen=True)
class SquareSteps(Schedule):
    """Random search in L-infinity. Age 0 is the stripes, age k the k-th query.

    A query touches the pixels of its patch and nothing else: they are painted into `x` and `net`, and afterwards either
    kept in `best` or put back from it, all in place. Full images are never copied.
    """

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
        net, net_high, net_low = (threat.inlet(v, threat.kernels) for v in (x, high, low))
        return {
            "x": x, "net": net.clone(), "best_x": x.clone(), "best_net": net.clone(),
            "faces_x": torch.stack([high, low], 1).flatten(3),  # both faces of the ball, [B, 2, C, H W]
            "faces_net": torch.stack([net_high, net_low], 1).flatten(3),
            "best_loss": torch.full((b,), -torch.inf, device=x0.device),
            "first": first, "second": second, "draws": torch.zeros(b, c + 2, device=x0.device),
        }  # fmt: skip

    def advance(self, threat: Threat, state: State, seen: Seen) -> None:
        s = state
        c, h, w = s["x"].shape[1:]
        better = (seen.loss > s["best_loss"])[:, None, None]
        s["best_loss"] = torch.maximum(seen.loss, s["best_loss"])
        patch = self._patch(s["draws"], [a - 1 for a in seen.age], c, h, w)  # at age 0, `x` is `best`: nothing to do
        for name in ("x", "net"):
            now, best = s[name].flatten(2), s[f"best_{name}"].flatten(2)
            kept = torch.where(better, now.gather(2, patch), best.gather(2, patch))
            now.scatter_(2, patch, kept)
            best.scatter_(2, patch, kept)

        device, count = s["x"].device, c + 2
        position = torch.tensor(seen.age, dtype=torch.int32, device=device)[:, None] * count + c * w
        s["draws"] = reference.draw(
            s["first"], s["second"], position + torch.arange(count, dtype=torch.int32, device=device)
        )
        patch = self._patch(s["draws"], seen.age, c, h, w)
        up = (s["draws"][:, 2:] < 0.5)[:, :, None]  # one sign per channel
        for name in ("x", "net"):
            high, low = (s[f"faces_{name}"][:, k].gather(2, patch) for k in (0, 1))
            s[name].flatten(2).scatter_(2, patch, torch.where(up, high, low))

    def _patch(self, draws: Tensor, age: list[int], c: int, h: int, w: int) -> Tensor:
        """The pixels of each image's patch, [B, C, n]; small patches list their last row and column several times."""
        table = sides(self.steps, self.p_init, h, w)
        mine = [table[max(a, 0)] for a in age]
        size = torch.tensor(mine, device=draws.device)[:, None]
        along = torch.minimum(torch.arange(max(mine), device=draws.device), size - 1)
        rows = (draws[:, :1] * (h - size + 1)).long() + along
        columns = (draws[:, 1:2] * (w - size + 1)).long() + along
        return (rows[:, :, None] * w + columns[:, None, :]).flatten(1)[:, None].expand(-1, c, -1)


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

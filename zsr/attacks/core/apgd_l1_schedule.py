"""Auto-PGD in L1 (Croce & Hein 2021, "Mind the box"): sparse steps, and radii that shrink towards eps.

Steps move the share of coordinates that the best perturbation occupies, over 1.5; after each step the length is divided
by 1.5 (down to a tenth of eps), or set back to eps, with a return to the best iterate, when the best perturbation has
become sparser by 5 %. Three phases with radii 3 eps, 2 eps and eps take 30, 30 and 40 % of the budget; only the last
one yields adversarial examples.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zsr.attacks.core.schedule import PassResult, Schedule, State, sent
from zsr.attacks.core.threat import Threat
from zsr_kernels import balls, draws, reference


@dataclass(frozen=True)
class SparseSteps(Schedule):
    """APGD's schedule in L1. `budget` steps in three phases, and one evaluation at the start of each phase."""

    budget: int = 100
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        # the last phase begins, however few steps there are
        object.__setattr__(self, "steps", max(self.budget + 2, self._phases()[-1][0]))

    def _phases(self) -> list[tuple[int, float]]:
        """(age at which the phase starts, its radius in units of eps)."""
        first = math.ceil(0.3 * self.budget)
        return [(0, 3.0), (first + 1, 2.0), (2 * first + 2, 1.0)]

    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        x0 = reference.pixels(state["x0"])
        n = x0[0].numel()
        z = draws.normal(state["key"], seed, stream, n).view(x0.shape)
        x = balls.l1_project(x0 + z, x0, 3.0 * threat.eps)
        rows, device = len(x), x.device
        entries = _count(x - x0)
        return {
            "x": x,
            "net": threat.enter(x),
            "x_best": x.clone(),
            "grad_best": torch.zeros_like(x),
            "loss_best": torch.full((rows,), -torch.inf, device=device),
            "size": torch.full((rows,), 3.0 * threat.eps, device=device),
            "share": entries / n / 1.5,
            "entries": entries,
            "radius": torch.full((rows,), 3.0 * threat.eps, device=device),
        }

    def advance(self, threat: Threat, state: State, result: PassResult) -> None:
        s, x0 = state, reference.pixels(state["x0"])
        device, n = x0.device, x0[0].numel()
        grad = threat.pixel_gradient(result.gradient)
        starts = dict(self._phases())
        first = sent([a in starts for a in result.age], device)
        better = first | (result.loss > s["loss_best"])
        s["x_best"] = reference.select(better, s["x"], s["x_best"])
        s["grad_best"] = reference.select(better, grad, s["grad_best"])
        s["loss_best"] = torch.where(better, result.loss, s["loss_best"])

        x, grad = self._adapt(s, grad, first, x0, n)
        moved = x + balls.per_image(s["size"], x) * reference.sparse_sign(grad, s["share"])
        # a row whose next age opens a phase starts it at its best iterate, inside the smaller ball
        opening = sent([a + 1 in starts for a in result.age], device)
        radius = sent([starts.get(a + 1, 0.0) * threat.eps for a in result.age], device)
        s["radius"] = torch.where(opening, radius, s["radius"])
        moved = reference.select(opening, s["x_best"], moved)
        s["x"] = balls.l1_project(moved, x0, s["radius"])
        s["net"] = threat.enter(s["x"])
        entries = _count(s["x"] - x0)
        s["size"] = torch.where(opening, s["radius"], s["size"])
        s["share"] = torch.where(opening, entries / n / 1.5, s["share"])
        s["entries"] = torch.where(opening, entries, s["entries"])

    def _adapt(self, s: State, grad: Tensor, first: Tensor, x0: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Sparsity and length for the next step, for rows that have made one in this phase."""
        entries = _count(s["x_best"] - x0)
        sparser = ~first & (entries / s["entries"].clamp_min(1) < 0.95)
        shorter = (s["size"] / 1.5).clamp_min(s["radius"] / 10.0)
        s["size"] = torch.where(first, s["size"], torch.where(sparser, s["radius"], shorter))
        s["share"] = torch.where(first, s["share"], entries / n / 1.5)
        s["entries"] = torch.where(first, s["entries"], entries)
        return reference.select(sparser, s["x_best"], s["x"]), reference.select(sparser, s["grad_best"], grad)

    def suspects(self, threat: Threat, state: State, wrong: Tensor) -> Tensor:
        return wrong & (state["radius"] <= threat.eps)


def _count(delta: Tensor) -> Tensor:
    """Entries that are not zero, per image, float32 [B]."""
    return (delta != 0).flatten(1).sum(1).to(torch.float32)

"""Fast Adaptive Boundary attack, untargeted (Croce & Hein 2020b): walk along the decision boundary towards the image.

Each iteration linearises the decision function f = z_j - z_y at the current point, projects the point (d1) and the
clean image (d2) onto the hyperplane f = 0 inside the box, and moves to

    (1 - a) (x + eta d1) + a (x0 + eta d2),   a = min(|d1| / (|d1| + |d2|), alpha_max);

a misclassified iterate is pulled back, x0 + beta (x - x0), before it moves. The hyperplane is the nearest one over all
classes j, which takes one backward per class: `fab-t` looks at one class at a time. FAB minimises the distance; here an
image leaves at the first misclassified iterate inside the eps-ball.

The authors' code spends two forwards and one backward on an iteration: it classifies the new point, pulls it back, and
takes the gradient there. Here the gradient comes with the classification, at the point before it is pulled back: one
forward and one backward, and a hyperplane that is taken nearer to the boundary (measured in docs/attacks.md).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from zsr.attacks.core.base import Attack
from zsr.attacks.core.hyperplane import project_onto_hyperplane
from zsr.attacks.core.objectives import Aux, Objective
from zsr.attacks.core.schedule import PassResult, Round, Schedule, State
from zsr.attacks.core.threat import Threat
from zsr_kernels import reference


@dataclass(frozen=True)
class AllDifferences(Objective):
    """z_j - z_y for every class j, [B, C]; the label's own column is 0."""

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        return logits.float() - logits.float().gather(1, y[:, None])


@dataclass(frozen=True)
class BoundarySteps(Schedule):
    """FAB's schedule; the objective gives the decision functions, [B] or [B, K]."""

    steps: int = 100
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    random_start: bool = False
    scale_free: bool = False

    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        if not self.random_start:
            x, net = threat.origin(state["x0"])
            return {"x": x, "net": net}
        x, _ = threat.start(state["x0"], state["key"], seed, stream)
        x = 0.5 * (x + reference.pixels(state["x0"]))  # half the radius, as the authors do
        return {"x": x, "net": threat.enter(x)}

    def advance(self, threat: Threat, state: State, result: PassResult) -> None:
        x, x0 = state["x"], reference.pixels(state["x0"])
        f, g = self._nearest(threat, result, state["y"])
        wrong = result.logits.argmax(1) != state["y"]
        pulled = reference.select(wrong, x0 + self.beta * (x - x0), x)
        flat, center, normal, here = (v.flatten(1) for v in (pulled, x0, g, x))
        # the linear function at the two points that are projected: f + g . (t - x)
        at_pulled = f + (normal * (flat - here)).sum(1)
        at_center = f + (normal * (center - here)).sum(1)
        steps = project_onto_hyperplane(
            torch.cat([flat, center]), torch.cat([normal, normal]), torch.cat([at_pulled, at_center]), threat.norm
        )
        d1, d2 = steps.chunk(2)
        size1, size2 = (threat.length(d)[:, None].clamp_min(1e-8) for d in (d1, d2))
        a = (size1 / (size1 + size2)).clamp_max(self.alpha_max)
        moved = (flat + self.eta * d1) * (1 - a) + (center + self.eta * d2) * a
        state["x"] = moved.clamp(0.0, 1.0).view_as(x)
        state["net"] = threat.enter(state["x"])

    def _nearest(self, threat: Threat, result: PassResult, y: Tensor) -> tuple[Tensor, Tensor]:
        """Value [B] and pixel gradient [B, C, H, W] of the decision function whose hyperplane is nearest."""
        if result.loss.ndim == 1:
            return result.loss, threat.pixel_gradient(result.gradient)
        b, k = result.loss.shape
        grads = torch.stack([threat.pixel_gradient(result.gradient[:, j]) for j in range(k)], 1)
        flat = grads.flatten(2)
        dual = flat.norm(p={"linf": 1, "l2": 2, "l1": torch.inf}[threat.norm], dim=2)
        distance = result.loss.abs() / (1e-12 + dual)
        nearest = distance.scatter(1, y[:, None], torch.inf).argmin(1)
        rows = torch.arange(b, device=y.device)
        return result.loss[rows, nearest], grads[rows, nearest]

    def suspects(self, threat: Threat, state: State, wrong: Tensor) -> Tensor:
        return wrong & (threat.distance(state["x"], state["x0"]) <= threat.eps)

    def last(self, threat: Threat, state: State, rows: Tensor) -> Tensor:
        """The last iterate pulled into the ball: one more chance, and an example that lies where it must."""
        return threat.project(state["x"].index_select(0, rows), state["x0"].index_select(0, rows))


@dataclass(frozen=True)
class FAB(Attack):
    """The authors' settings; the first of the restarts begins at the clean image."""

    label: ClassVar[str] = "FAB"

    steps: int = 100
    restarts: int = 5
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def objectives(self, classes: int) -> list[Objective]:
        return [AllDifferences()]

    def rounds(self, threat: Threat, classes: int, name: str) -> list[Round]:
        rounds: list[Round] = []
        for objective in self.objectives(classes):
            for restart in range(self.restarts):
                schedule = BoundarySteps(self.steps, self.alpha_max, self.eta, self.beta, restart > 0)
                rounds.append(Round(name, schedule, objective, len(rounds)))
        return rounds

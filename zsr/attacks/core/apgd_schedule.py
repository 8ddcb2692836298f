"""Auto-PGD (Croce & Hein 2020, algorithm 1): PGD with momentum and a step size that adapts to each image.

The step starts at 2 eps. At checkpoints (after 22 % of the budget, then at intervals that shrink by 3 % down to 6 %) it
is halved, and the image sent back to its best iterate, if

    the loss rose in at most rho = 75 % of the steps since the last checkpoint, or
    the step was not halved at the last checkpoint and the best loss has not improved since.

All of it is per-image tensor arithmetic, without a device sync. Difference to the authors' code: their first
window compares its first loss with an unset zero, here with the loss of the start, as the paper says.
"""

from dataclasses import dataclass
from functools import cache

import torch

import zsr_kernels
from zsr.attacks.core.schedule import PassResult, Schedule, State, sent
from zsr.attacks.core.threat import Threat


@cache
def checkpoints(steps: int) -> dict[int, int]:
    """{number of steps made: length of the window that ends there}."""
    window, smallest, shrink = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    windows, made = {}, 0
    while made + window <= steps:
        made += window
        windows[made] = window
        window = max(window - shrink, smallest)
    return windows


@dataclass(frozen=True)
class AdaptiveSteps(Schedule):
    """APGD's schedule in L-infinity and L2."""

    steps: int = 100
    rho: float = 0.75
    alpha: float = 2.0  # first step, in units of eps
    inertia: float = 0.75

    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        x, net = threat.start(state["x0"], state["key"], seed, stream)
        n, device = len(x), x.device
        return {
            "x": x,
            "net": net,
            "x_prev": x,
            "x_best": x.clone(),
            "grad_best": torch.zeros_like(net),
            "loss_best": torch.full((n,), -torch.inf, device=device),
            "loss_last": torch.full((n,), torch.inf, device=device),
            "rises": torch.zeros(n, dtype=torch.int64, device=device),
            "size": torch.full((n,), self.alpha * threat.eps, device=device),
            "best_then": torch.full((n,), -torch.inf, device=device),  # best loss at the last checkpoint
            "halved_then": torch.ones(n, dtype=torch.bool, device=device),
        }

    def advance(self, threat: Threat, state: State, result: PassResult) -> None:
        s, grad = state, result.gradient
        zsr_kernels.apgd_track(
            s["x"], grad, result.loss, s["x_best"], s["grad_best"], s["loss_best"], s["loss_last"], s["rises"],
            kernels=threat.kernels,
        )  # fmt: skip
        restore = self._check(s, result.age)
        weight = sent([self.inertia if age > 0 else 1.0 for age in result.age], s["x"].device)
        s["x"], s["x_prev"], s["net"] = threat.momentum_step(s, grad, restore, weight)

    def _check(self, s: State, age: list[int]) -> torch.Tensor | None:
        """At an image's checkpoint: halve its step if it oscillates or stalls. Returns who goes back to its best."""
        windows = [checkpoints(self.steps).get(a, 0) for a in age]
        if not any(windows):
            return None
        window = sent(windows, s["x"].device)
        due = window > 0
        oscillates = s["rises"] <= self.rho * window
        stalls = ~s["halved_then"] & (s["best_then"] >= s["loss_best"])
        halve = due & (oscillates | stalls)
        s["size"] = torch.where(halve, s["size"] / 2, s["size"])
        s["halved_then"] = torch.where(due, halve, s["halved_then"])
        s["best_then"] = torch.where(due, s["loss_best"], s["best_then"])
        s["rises"] = torch.where(due, torch.zeros_like(s["rises"]), s["rises"])
        return halve

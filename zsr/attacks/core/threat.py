"""The threat model: which points an attacker may reach (`start`, `step`, `project`); it calls the kernels.

A `Threat` is a norm and a radius, always inside the box [0, 1], and the `Normalisation` in front of the network: with
mean and std it is fused into each step, without them the network takes pixels. x and x0 are float32; only the network's
input is cast.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

import zsr_kernels
from zsr.errors import ZsrError, unknown
from zsr_kernels import balls, reference
from zsr_kernels.normalisation import PIXELS, Normalisation

NORMS = {"linf": float("inf"), "l2": 2, "l1": 1}  # with their orders
TOLERANCE = 1e-6  # x0 +- eps rounds; larger radii (L2, L1) round in proportion


@dataclass(frozen=True)
class Threat:
    """All x with ||x - x0|| <= eps and 0 <= x <= 1."""

    norm: str
    eps: float
    normalisation: Normalisation = PIXELS
    kernels: str = "auto"

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown("norm", self.norm, NORMS, "attack")
        if not 0 <= self.eps < float("inf"):
            raise ZsrError(f"attack: eps={self.eps} must be a number >= 0 (a radius in pixel units, images in [0, 1])")

    def start(self, x0: Tensor, keys: Tensor, seed: int, stream: int) -> tuple[Tensor, Tensor]:
        """A random point of the ball for each image, keyed by (seed, key, stream), and the network's input there."""
        return zsr_kernels.start(x0, keys, seed, stream, self.eps, self.norm, self.normalisation, self.kernels)

    def origin(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """The clean image as a starting point."""
        x = reference.pixels(x0).clone()
        return x, self.enter(x)

    def enter(self, x: Tensor) -> Tensor:
        """The network's input at pixels x."""
        return zsr_kernels.normalize(x, self.normalisation, self.kernels)

    def pixel_gradient(self, grad: Tensor) -> Tensor:
        """The gradient with respect to pixels, float32, from that with respect to the network's input."""
        return reference.normalize_backward(grad, self.normalisation.std)

    def step(
        self, x: Tensor, x0: Tensor, grad: Tensor, size: float | Tensor, share: float = 0.05
    ) -> tuple[Tensor, Tensor]:
        """One steepest step of length `size` in this norm, back into ball and box: (x', the network's input)."""
        if self.norm == "linf":
            return zsr_kernels.linf_step(x, x0, grad, size, self.eps, self.normalisation, self.kernels)
        if self.norm == "l2":
            return zsr_kernels.l2_step(x, x0, grad, size, self.eps, self.normalisation, self.kernels)
        return zsr_kernels.l1_step(x, x0, grad, size, self.eps, self.normalisation, share)

    def momentum_step(
        self, s: dict[str, Tensor], grad: Tensor, restore: Tensor | None, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """APGD's step from the state `s` (L-infinity, L2): (x', where it started from, the network's input)."""
        return zsr_kernels.apgd_step(
            s["x"], s["x_prev"], s["x_best"], s["x0"], grad, s["grad_best"], restore, s["size"], weight,
            self.eps, self.norm, self.normalisation, self.kernels,
        )  # fmt: skip

    def project(self, y: Tensor, x0: Tensor) -> Tensor:
        """Back into the ball and the box."""
        projections = {"linf": balls.linf_project, "l2": balls.l2_project, "l1": balls.l1_project}
        return projections[self.norm](y, reference.pixels(x0), self.eps)

    def distance(self, x: Tensor, x0: Tensor) -> Tensor:
        """||x - x0|| of each image, [B]."""
        return self.length(x - reference.pixels(x0))

    def length(self, delta: Tensor) -> Tensor:
        """||delta|| of each image, [B]."""
        delta = delta.flatten(1)
        if self.norm == "linf":
            return delta.abs().amax(1)
        return balls.norms(delta, 2 if self.norm == "l2" else 1)

    def contains(self, x: Tensor, x0: Tensor) -> Tensor:
        """Whether each image lies in ball and box, up to rounding, [B].

        Sums are in float64, because a float32 sum of 1e5 terms errs by more than the slack. The differences stay
        float32: in float64 they would need eight times the memory of the batch.
        """
        flat = x.flatten(1)
        slack = TOLERANCE * max(1.0, self.eps)
        delta = flat - reference.pixels(x0).flatten(1)
        distance: Tensor = torch.linalg.vector_norm(delta, NORMS[self.norm], dim=1, dtype=torch.float64)
        inside: Tensor = (distance <= self.eps + slack) & (flat.amin(1) >= 0) & (flat.amax(1) <= 1)
        return inside

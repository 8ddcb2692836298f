"""What an attack climbs: per-image losses of the network's output, larger is worse for the defender.

An objective is called with the logits `[B, C]`, the labels `[B]` and the rows' `aux` (what `prepare` made of the clean
logits: a target class, the clean distribution), and returns `[B]` in float32. The sum over the batch is taken by the
caller: a mean would scale the gradient with the size of the batch, and underflow in float16.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Aux = dict[str, Tensor]


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """z_y - max_{j != y} z_j, [B]: negative where the prediction is wrong."""
    own = logits.gather(1, y[:, None]).squeeze(1)
    others = logits.scatter(1, y[:, None], float("-inf")).amax(1)
    return own - others


class Objective:
    """Base: no preparation, any number of classes."""

    def prepare(self, clean: Tensor, y: Tensor) -> Aux:
        """Per-image constants from the clean logits `[n, C]`; each value has leading dimension n."""
        return {}

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """-log p_y."""

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        return F.cross_entropy(logits.float(), y, reduction="none")


@dataclass(frozen=True)
class Margin(Objective):
    """Carlini-Wagner: -max(z_y - max_{j != y} z_j + kappa, 0).

    Its gradient stops once an image is wrong by `kappa`: 50 in the TeCoA family (hardly ever reached), 0 in APT.
    """

    kappa: float = 0.0

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        return -F.relu(margins(logits.float(), y) + self.kappa)


@dataclass(frozen=True)
class KL(Objective):
    """KL(p_clean || p): TRADES' inner attack; it needs no label."""

    def prepare(self, clean: Tensor, y: Tensor) -> Aux:
        return {"clean_log_p": F.log_softmax(clean.float(), 1)}

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        return kl(aux["clean_log_p"], F.log_softmax(logits.float(), 1))


@dataclass(frozen=True)
class DLR(Objective):
    """Difference of logits ratio (Croce & Hein 2020, eq. 6): -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)).

    Invariant to shift and scale of the logits, so a large temperature cannot hide the gradient. Needs three classes.
    """

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        z = logits.float()
        top = z.topk(3, 1).values
        return -margins(z, y) / (top[:, 0] - top[:, 2] + 1e-12)


@dataclass(frozen=True)
class Targeted(Objective):
    """Base of the targeted objectives: the target is the class of this rank among the others (1 = runner-up)."""

    rank: int = 1

    def prepare(self, clean: Tensor, y: Tensor) -> Aux:
        first = clean.scatter(1, y[:, None], torch.inf)  # a tie must not make the label its own target
        return {"target": first.sort(1).indices[:, -1 - self.rank]}


@dataclass(frozen=True)
class TargetedDLR(Targeted):
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) (Croce & Hein 2020, eq. 7). Needs four classes."""

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        z = logits.float()
        top = z.topk(4, 1).values
        gap = z.gather(1, y[:, None]) - z.gather(1, aux["target"][:, None])
        return -gap.squeeze(1) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + 1e-12)


@dataclass(frozen=True)
class TargetedDifference(Targeted):
    """z_t - z_y: the function whose zero FAB-T looks for."""

    def __call__(self, logits: Tensor, y: Tensor, aux: Aux) -> Tensor:
        z = logits.float()
        return (z.gather(1, aux["target"][:, None]) - z.gather(1, y[:, None])).squeeze(1)


def feature_distance(features: Tensor, clean: Tensor) -> Tensor:
    """||f - f_clean||_2^2 per image: FARE's inner objective (Schlarmann et al. 2024, eq. 3), no labels, no text."""
    return (features.float() - clean.float()).square().flatten(1).sum(1)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) per image, from log-probabilities."""
    return torch.sum(log_p.exp() * (log_p - log_q), 1)

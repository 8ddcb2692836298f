"""Models for the tests of the attacks: those of the benchmarks (`benchmarks/victims.py`), and some that misbehave."""

from functools import cache

import torch
from torch import Tensor, nn

from support.project import load_benchmark
from zsr.attacks import Normalized

torch.set_num_threads(1)  # small models: a second thread costs more than it brings

victims = load_benchmark("victims")

images = victims.images


@cache
def trained(name: str, robust: bool = False) -> Normalized:
    """A trained model, shared by the tests of a process; nobody may change it."""
    return victims.trained(name, robust, steps=80)


@cache
def radius(name: str, norm: str, robust: bool = False) -> float:
    """A radius at which about 40 % of the images stand."""
    return victims.calibrated(trained(name, robust), norm, n=64)


def linear(classes: int = 10, dimension: int = 3 * 4 * 4, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model on 4 x 4 images, and its weights [C, D] and biases [C]."""
    g = torch.Generator().manual_seed(seed)
    w, b = torch.randn(classes, dimension, generator=g), 0.02 * torch.randn(classes, generator=g)
    w -= w.mean(1, keepdim=True)  # a grey image is on every boundary: distances are small, and the box far away
    layer = nn.Linear(dimension, classes)
    with torch.no_grad():
        layer.weight.copy_(w)
        layer.bias.copy_(b)
    return nn.Sequential(nn.Flatten(), layer), w, b


class Shy(nn.Module):
    """Classifies one way while gradients are recorded, and another way when it is only looked at."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        return -logits if torch.is_grad_enabled() and x.requires_grad else logits


class Counting(nn.Module):
    """Counts image-passes by itself, forwards here and backwards in a hook."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        self.forwards = self.backwards = 0
        self.shapes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        self.shapes.append(len(x))
        out = self.net(x)
        if out.requires_grad:
            out.register_hook(self._count)
        return out

    def _count(self, grad: Tensor) -> None:
        self.backwards += len(grad)

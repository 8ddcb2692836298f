"""What the tests of methods share: a tiny student beside its original, and the papers' formulas in plain Python."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from zsr.attacks.core.training_attack import Perturbed
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.task import Batch, Task
from zsr.training import fine_tune
from zsr.training.checkpoint import Checkpoint
from zsr.training.fine_tune import SourceSet
from zsr.training.recipe import Recipe

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
B, C, D, SIDE = 5, 4, 6, 4
SCALE = 3.0


def plain_tower() -> nn.Module:
    """No BatchNorm: train and eval mode agree."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 8), nn.Tanh(), nn.Linear(8, D))


def norm_tower() -> nn.Module:
    """With BatchNorm, whose statistics move."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, D),
    )


def dressed(method, task: Task, side: int = SIDE) -> Task:
    """As the loop does before the first step."""
    method.check(task)
    task.wrap_student(method.wrap)
    method.prepare(task, make_source(side=side))
    return task


def make_task(tower=plain_tower, *, moved: bool = True, eps: float = 64 / 255, steps: int = 2, **keys) -> Task:
    """A task; with `moved`, the student's weights are no longer the original's."""
    torch.manual_seed(1)
    head = F.normalize(torch.randn(C, D), dim=1)
    visual = tower()
    visual.output_dim = D
    task = Task(visual, MEAN, STD, head, SCALE, eps, attack_steps=steps, attack_alpha=0.5, seed=3, **keys)
    if moved:
        with torch.no_grad():
            for parameter in visual.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return task


def make_batch(count: int = B, side: int = SIDE, classes: int = C) -> Batch:
    """Random images and labels."""
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(count, 3, side, side, generator=generator)
    return Batch(images, torch.randint(0, classes, (count,), generator=generator), torch.arange(count), 2)


def make_source(count: int = 24, side: int = SIDE, classes: int = C) -> SourceSet:
    """A source set in memory."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return SourceSet(images, rng.integers(0, classes, count))


def fit(folder, method, task: Task, source: SourceSet | None = None, **keys) -> Task:
    """Train a few steps."""
    recipe = Recipe(**{"epochs": 1, "batch": 8, "lr": 0.02, "warmup": 1, **keys})
    checkpoint = Checkpoint(folder / "last.ckpt", "spec")
    fine_tune.fine_tune(
        method, task, source or make_source(), recipe, device="cpu", checkpoint=checkpoint, log=lambda row: None
    )
    return task


def equal(one: nn.Module, other: nn.Module) -> bool:
    """Bit-identical states."""
    pair = one.state_dict(), other.state_dict()
    return pair[0].keys() == pair[1].keys() and all(torch.equal(v, pair[1][k]) for k, v in pair[0].items())


class Fixed:
    """Stands in for the inner attack with images that were made before, and keeps the objective it was given."""

    def __init__(self, monkeypatch, images: torch.Tensor) -> None:
        self.images, self.objective = images, None

        def attack(method, task, batch, objective=None):
            self.objective = objective or method.objective(task, batch)
            return Perturbed(self.images, task.normalise(self.images))

        monkeypatch.setattr(AdversarialMethod, "attack", attack)


class Views:
    """Features of student and original on clean and adversarial images in float64, as lists [B][D]."""

    def __init__(self, task: Task, batch: Batch, adversarial: torch.Tensor, student: nn.Module | None = None) -> None:
        student = student or copy.deepcopy(task.visual).double()
        original = copy.deepcopy(task.frozen).double()
        inputs = [task.normalise(images).double() for images in (batch.images, adversarial)]
        with torch.no_grad():
            self.clean, self.adv = (student(x).tolist() for x in inputs)
            self.clean0, self.adv0 = (original(x).tolist() for x in inputs)
        self.head = task.head.double().tolist()
        self.labels = batch.labels.tolist()


def gradient_check(method, task, batch, adversarial, reference, monkeypatch, rtol=2e-3, views=Views) -> None:
    """The loss's gradient against central differences of `reference(views, held)`, whose `held` does not move."""
    Fixed(monkeypatch, adversarial)
    loss, _ = method.loss(task, batch)
    loss.backward()
    double = copy.deepcopy(task.visual).double()
    held = views(task, batch, adversarial)
    for name, parameter in task.visual.named_parameters():
        grad = parameter.grad.flatten()
        place = int(grad.abs().argmax())  # where a wrong term shows most
        twin = dict(double.named_parameters())[name].data.view(-1)
        before, h = twin[place].item(), 1e-5
        values = []
        for sign in (1, -1):
            twin[place] = before + sign * h
            values.append(reference(views(task, batch, adversarial, double), held))
        twin[place] = before
        slope = (values[0] - values[1]) / (2 * h)
        assert math.isclose(slope, grad[place].item(), rel_tol=rtol, abs_tol=1e-5), (name, slope, grad[place].item())


# -- formulas on lists of numbers ------------------------------------------------------------------------------------


def cosine(a, b) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def probabilities(feature, head, scale=SCALE) -> list[float]:
    """softmax_c( scale·cos(f, t_c) )."""
    z = [scale * cosine(feature, t) for t in head]
    total = sum(math.exp(v) for v in z)
    return [math.exp(v) / total for v in z]


def kl_of(p, q) -> float:
    """KL(p || q)."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def cross_entropy(features, views, scale=SCALE) -> float:
    """mean_i -log p(f_i)_y."""
    return mean(-math.log(probabilities(f, views.head, scale)[y]) for f, y in zip(features, views.labels, strict=True))


def distance(a, b) -> float:
    """Euclidean."""
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))

"""Against torchattacks, where it is installed (it is no dependency of the project)."""

import statistics

import pytest
import torch
from attack_models import images, radius, trained

from zsr.attacks import attack

torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed: pip install torchattacks")


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_pgd_with_the_last_iterate(kind):
    """Mean over five random starts; a start moves a few images either way."""
    model, eps = trained(kind), radius(kind, "linf")
    x, y = images(128, 31)
    theirs, ours = [], []
    for seed in range(5):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = torchattacks.PGD(model, eps=eps, alpha=eps / 4, steps=10, random_start=True)(x, y)
        with torch.no_grad():
            theirs.append(int((model(made).argmax(1) == y).sum()))
        v = attack(model, x, y, "pgd", eps=eps, steps=10, step_size="eps/4", verdict="last", seed=seed)
        ours.append(int(v.robust.sum()))
    assert abs(statistics.mean(ours) - statistics.mean(theirs)) <= 2.5, (ours, theirs)

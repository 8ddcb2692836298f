"""Against torchattacks, where it is installed (it is no dependency of the project)."""

import pytest
import torch
from attack_models import images, radius, trained

from zsr.attacks import attack

torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed: pip install torchattacks")


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_pgd_with_the_last_iterate(kind):
    model, eps = trained(kind), radius(kind, "linf")
    x, y = images(128, 31)
    theirs = torchattacks.PGD(model, eps=eps, alpha=eps / 4, steps=10, random_start=True)(x, y)
    with torch.no_grad():
        reference = int((model(theirs).argmax(1) == y).sum())
    ours = attack(model, x, y, "pgd", eps=eps, steps=10, step_size="eps/4", verdict="last")
    assert abs(int(ours.robust.sum()) - reference) <= 4

"""Models whose robustness is known exactly: every attack must find what is there, and nothing more."""

import pytest
import torch
from support.attack_models import linear
from torch import nn

from zsr.attacks import attack
from zsr.attacks.core.hyperplane import project_onto_hyperplane

DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}
SLACK = {"linf": 0.98, "l2": 0.98, "l1": 0.9}  # L1: sparse steps reach a corner of the ball slowly
UNTARGETED = ("pgd", "cw", "apgd-ce", "apgd-dlr")
ATTACKS = {
    "pgd": {"steps": 40, "step_size": "eps/4", "share": 0.02},
    "cw": {"steps": 40, "kappa": 1e4, "share": 0.02},
    "apgd-ce": {},
    "apgd-dlr": {},
    "apgd-t": {"steps": 40},
    "fab-t": {"steps": 15},
    "fab": {"steps": 15, "restarts": 1},
    "autoattack": {"queries": 20, "steps": 30},
}


def middle_images(n: int, seed: int = 0) -> torch.Tensor:
    """Images so far from 0 and 1 that the box plays no part."""
    return 0.4 + 0.2 * torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def linear_distances(x, y, w, b, norm):
    """The distance of each image to the nearest hyperplane z_j = z_y: (z_y - z_j) / ||w_y - w_j||_dual."""
    z = x.flatten(1) @ w.T + b
    gaps = z.gather(1, y[:, None]) - z
    sizes = (w[y][:, None] - w[None]).norm(p=DUAL[norm], dim=2)
    return (gaps / sizes.clamp_min(1e-9)).scatter(1, y[:, None], torch.inf).amin(1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ATTACKS)
def test_linear(name, norm):
    model, w, b = linear()
    x = middle_images(200)
    y = (x.flatten(1) @ w.T + b).argmax(1)
    distance = linear_distances(x, y, w, b, norm)
    eps = float(distance.median())
    v = attack(model, x, y, name, norm=norm, eps=eps, batch_size=200, **ATTACKS[name])
    assert 0.15 < v.robust.float().mean() < 0.85
    reachable = distance < eps
    assert not (~reachable & ~v.robust & (distance > eps * 1.001)).any()  # no image is fooled that cannot be
    missed = reachable & v.robust & (distance < SLACK[norm] * eps)
    if name in UNTARGETED:  # they follow the strongest rivals, which need not be behind the nearest hyperplane
        assert int(missed.sum()) <= 0.3 * int(reachable.sum())
    else:
        assert not missed.any(), int(missed.sum())


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_two_classes_have_one_hyperplane(norm):
    """With one rival every loss points at it: the verdict is exact for all of them."""
    model, w, b = linear(classes=2)
    x = middle_images(200, 1)
    y = (x.flatten(1) @ w.T + b).argmax(1)
    distance = linear_distances(x, y, w, b, norm)
    eps = float(distance.median())
    for name in ("pgd", "apgd-ce", "apgd-t", "fab-t"):
        v = attack(model, x, y, name, norm=norm, eps=eps, batch_size=200, **ATTACKS[name])
        sure = (distance - eps).abs() > (1 - SLACK[norm]) * eps
        assert torch.equal(v.robust[sure], (distance > eps)[sure]), name


class Ball(nn.Module):
    """Class 0 inside a sphere around c, class 1 outside: z = (r^2 - ||x - c||^2, 0)."""

    def __init__(self, radius: float):
        super().__init__()
        self.radius = radius

    def forward(self, x):
        inside = self.radius**2 - (x - 0.5).square().flatten(1).sum(1)
        return torch.stack([inside, torch.zeros_like(inside)], 1)


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "fab-t"])
def test_a_sphere_is_left_along_its_radius(name):
    """From ||x - c|| = d the nearest point outside is r - d away in L2."""
    directions = torch.randn(100, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    directions /= directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    depths = torch.linspace(0.05, 0.55, 100)
    x = 0.5 + directions * depths.view(-1, 1, 1, 1)
    eps, r = 0.3, 0.6
    v = attack(Ball(r), x, torch.zeros(100, dtype=torch.int64), name, norm="l2", eps=eps, **ATTACKS[name])
    sure = (r - depths - eps).abs() > 0.01
    assert torch.equal(v.robust[sure], (r - depths > eps)[sure])


def test_a_tie_is_between_the_label_and_its_target():
    """Images on the boundary of two classes are fooled at the first target, whichever of the two a sort puts first."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5, bias=False))
    nn.init.eye_(model[1].weight)
    for tied in ([0, 1], [0, 4], [2, 3]):
        x = torch.full((16, 3, 4, 4), 0.2)
        x.flatten(1)[:, tied] = 0.5
        y = model(x).argmax(1)
        v = attack(model, x, y, "apgd-t", eps=0.01, targets=1, steps=5, index=torch.arange(16))
        assert not v.robust.any()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_hyperplane_is_reached_by_the_shortest_way(norm):
    """Without a box in the way the distance is |c| / ||w||_dual, and the step ends on the hyperplane."""
    g = torch.Generator().manual_seed(3)
    t, w = 0.5 + torch.zeros(50, 30), torch.randn(50, 30, generator=g)
    c = 0.3 * torch.randn(50, generator=g)
    d = project_onto_hyperplane(t, w, c, norm)
    torch.testing.assert_close((w * d).sum(1), -c, rtol=1e-4, atol=1e-6)
    size = d.norm(p={"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)
    torch.testing.assert_close(size, c.abs() / w.norm(p=DUAL[norm], dim=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_hyperplane_inside_the_box(norm):
    """Near the faces the step stays in the box, still reaches the hyperplane if it can, and goes all the way if not."""
    g = torch.Generator().manual_seed(4)
    t = torch.rand(200, 20, generator=g)
    t[:, ::4], t[:, 1::4] = 0.0, 1.0
    w, c = torch.randn(200, 20, generator=g), 4 * torch.randn(200, generator=g)
    d = project_onto_hyperplane(t, w, c, norm)
    assert (t + d).min() >= -1e-6 and (t + d).max() <= 1 + 1e-6
    towards = -w.sign() * c.sign()[:, None]
    reach = (w.abs() * torch.where(towards > 0, 1 - t, t)).sum(1)
    left = (c + (w * d).sum(1)).abs()
    assert (left[reach > c.abs() * 1.001] < 1e-4).all()
    beyond = reach < c.abs() * 0.999
    assert beyond.any()
    torch.testing.assert_close(left[beyond], (c.abs() - reach)[beyond], rtol=1e-3, atol=1e-4)

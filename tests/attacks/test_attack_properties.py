"""What must hold of every attack on any model: ball and box, order and company, seeds, radii."""

import ast
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.attack_models import images, radius, trained
from torch import nn

from zsr import registry
from zsr.attacks import attack

SHORT = {
    "pgd": {"steps": 8}, "cw": {"steps": 8}, "tpgd": {"steps": 8},
    "apgd-ce": {"steps": 12}, "apgd-dlr": {"steps": 12}, "apgd-t": {"steps": 6, "targets": 3},
    "fab": {"steps": 4, "restarts": 2}, "fab-t": {"steps": 6, "targets": 3}, "square": {"queries": 30},
    "autoattack": {"steps": 8, "targets": 2, "queries": 20},
    "autoattack-plus": {"steps": 6, "targets": 2, "queries": 10, "restarts": 2},
    "autoattack-papers": {"steps": 10},
}  # fmt: skip
NORMS = ("linf", "l2", "l1")
some = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_every_attack_is_covered_here():
    apart = {"transfer", "autoattack-reference"}  # tests of their own
    assert set(SHORT) | apart == set(registry.names("attacks"))


def test_settings_can_be_read_without_importing_an_attack():
    for name in registry.names("attacks"):
        described = registry.describe("attacks", name)
        assert described.constants["label"] and ast.get_docstring(registry.tree(described.path))
        assert all(not s.required for s in described.settings.values()), name


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", SHORT)
def test_examples_lie_in_ball_and_box_and_verdicts_hold(name, norm):
    model = trained("cnn")
    x, y = images(24, 3)
    y[0] = (y[0] + 1) % 10  # one that is wrong already
    eps = radius("cnn", norm)
    v = attack(model, x, y, name, norm=norm, eps=eps, batch_size=7, **SHORT[name])
    delta = (v.x_adv - x).double().flatten(1)
    size = {"linf": delta.abs().amax(1), "l2": delta.norm(dim=1), "l1": delta.abs().sum(1)}[norm]
    assert (size <= eps + 1e-6 * max(1, eps)).all() and v.x_adv.min() >= 0 and v.x_adv.max() <= 1
    torch.testing.assert_close(v.distance.double(), size, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        z, clean = model(v.x_adv), model(x)
    assert torch.equal(z.argmax(1), v.prediction) and torch.equal(clean.argmax(1), v.clean)
    assert torch.equal(v.robust, v.prediction == y)
    own = z.gather(1, y[:, None]).squeeze(1)
    margin = own - z.scatter(1, y[:, None], -torch.inf).amax(1)
    torch.testing.assert_close(margin, v.margin, rtol=1e-4, atol=1e-4)
    assert v.step[0] == 0 and not v.robust[0] and v.attack[0] == ""
    assert ((v.step == -1) == v.robust).all() and all(bool(a) == (s > 0) for a, s in zip(v.attack, v.step, strict=True))


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "square", "fab-t", "autoattack"])
def test_radius_zero_is_clean_accuracy(name):
    x, y = images(20, 4)
    v = attack(trained("cnn"), x, y, name, eps=0.0, **SHORT[name])
    assert torch.equal(v.robust, v.clean == y) and torch.equal(v.x_adv, x)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, norm", [(n, "linf") for n in SHORT] + [("square", "l2"), ("apgd-ce", "l1"), ("pgd", "l2")]
)
@some
@given(seed=st.integers(0, 2**31), company=st.integers(8, 22))
def test_a_verdict_does_not_depend_on_order_and_company(name, norm, seed, company):
    """At a batch shape that never changes, bit for bit."""
    model, eps = trained("cnn"), radius("cnn", norm)
    x, y = images(22, 5)
    common = {"norm": norm, "eps": eps, "seed": seed, "batch_size": 8, "shapes": "fixed", **SHORT[name]}
    whole = attack(model, x, y, name, **common)
    order = torch.randperm(22, generator=torch.Generator().manual_seed(seed))[:company]
    part = attack(model, x[order], y[order], name, **common)
    assert torch.equal(part.robust, whole.robust[order]) and torch.equal(part.step, whole.step[order])
    assert torch.equal(part.x_adv, whole.x_adv[order]) and torch.equal(part.margin, whole.margin[order])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pgd", "apgd-t", "fab-t", "square"])
def test_batch_shapes_move_hardly_any_verdict(name):
    model, eps = trained("vit"), radius("vit", "linf")
    x, y = images(200, 6)
    robust = [
        attack(model, x, y, name, eps=eps, batch_size=b, shapes=s, **SHORT[name]).robust
        for b, s in ((7, "exact"), (64, "bucket"), (200, "exact"))
    ]
    assert all(float((r != robust[0]).float().mean()) <= 0.005 for r in robust)


@pytest.mark.parametrize("eps", [0.01, 1.0, 4.0])
def test_an_l1_ball_at_the_resolution_of_a_photograph(eps):
    """150,000 pixels move by less than a float's last places each, and their sum stays in the ball."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 5))
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    v = attack(net, x, net(x).argmax(1), "pgd", norm="l1", eps=eps, steps=1)
    assert ((v.x_adv.double() - x.double()).abs().flatten(1).sum(1) <= eps).all()


def test_the_index_keys_the_start():
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(12, 7)
    index = torch.arange(12)
    a = attack(model, x, y, "pgd", eps=eps, index=index, steps=1)
    b = attack(model, x, y, "pgd", eps=eps, index=index + 1, steps=1)
    c = attack(model, x, y, "pgd", eps=eps, index=index, steps=1, seed=1)
    assert not torch.equal(a.x_adv, b.x_adv) and not torch.equal(a.x_adv, c.x_adv)


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "square", "autoattack"])
def test_same_seed_same_bits(name):
    """A whole number of numpy's is a number like any other."""
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(20, 8)
    a, b = (attack(model, x, y, name, eps=eps, seed=seed, **SHORT[name]) for seed in (5, np.int64(5)))
    assert torch.equal(a.x_adv, b.x_adv) and torch.equal(a.step, b.step) and a.attack == b.attack


@pytest.mark.slow
def test_robust_accuracy_does_not_rise_with_the_radius():
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(60, 9)
    robust = [
        int(attack(model, x, y, "autoattack", eps=k * eps, steps=30, targets=3, queries=60).robust.sum())
        for k in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    ]
    assert all(later <= earlier + 1 for earlier, later in pairwise(robust)), robust
    assert robust[0] > robust[-1]


def test_more_attacks_never_raise_robust_accuracy():
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(60, 10)
    first = attack(model, x, y, "apgd-ce", eps=eps, steps=20).robust
    papers = attack(model, x, y, "autoattack-papers", eps=eps, steps=20).robust
    assert not (papers & ~first).any() and papers.sum() <= first.sum()
    once = attack(model, x, y, "pgd", eps=eps, steps=5).robust
    thrice = attack(model, x, y, "pgd", eps=eps, steps=5, restarts=3).robust
    assert not (thrice & ~once).any()


@pytest.mark.parametrize("name", ["pgd", "cw", "tpgd"])
@pytest.mark.parametrize("alpha", ["eps", "eps/4"])
def test_any_iterate_finds_what_the_last_one_finds(name, alpha):
    model, eps = trained("vit"), radius("vit", "linf")
    x, y = images(80, 11)
    common = {"eps": eps, "steps": 10, "step_size": alpha, "batch_size": 80, "shapes": "fixed"}
    either = attack(model, x, y, name, verdict="any", **common).robust
    last = attack(model, x, y, name, verdict="last", **common).robust
    assert not (either & ~last).any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_bytes_are_255ths(dtype):
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(16, 12)
    given_x = (x * 255).round().to(torch.uint8) if dtype == torch.uint8 else x
    v = attack(model, given_x, y, "apgd-ce", eps=eps, steps=8, index=torch.arange(16))
    w = attack(model, x, y, "apgd-ce", eps=eps, steps=8, index=torch.arange(16))
    assert torch.equal(v.x_adv, w.x_adv) and v.x_adv.dtype == torch.float32


def test_the_plain_path_and_the_fused_path_agree():
    fused, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(100, 13)
    a = attack(fused, x, y, "apgd-ce", eps=eps, steps=20)
    b = attack(lambda v: fused(v), x, y, "apgd-ce", eps=eps, steps=20)
    assert (a.robust != b.robust).sum() <= 1
    assert "fused" in a.notes[-1] and "plain" in b.notes[-1]


@pytest.mark.parametrize(
    "classes, name", [(2, "apgd-dlr"), (2, "apgd-t"), (3, "apgd-t"), (2, "autoattack"), (3, "autoattack")]
)
def test_few_classes_are_handled_and_said(classes, name):
    g = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, classes))
    x = torch.rand(20, 3, 4, 4, generator=g)
    y = model(x).argmax(1)
    v = attack(model, x, y, name, eps=0.05, **SHORT[name])
    assert any("classes" in note for note in v.notes)
    assert v.robust.sum() <= attack(model, x, y, "pgd", eps=0.05, steps=3).robust.sum() + 1


def test_the_papers_subset_leaves_dlr_out_for_two_classes():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    x = torch.rand(12, 3, 4, 4)
    v = attack(model, x, model(x).argmax(1), "autoattack-papers", eps=0.05, steps=5)
    assert set(v.attack) <= {"apgd-ce", ""} and any("apgd-ce alone" in note for note in v.notes)


class Noisy(nn.Module):
    """A defence that adds noise to its input."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x + 0.05 * torch.randn_like(x))


def test_random_defences_are_averaged_and_repeatable():
    model = Noisy(trained("cnn"))
    x, y = images(24, 10)
    eps = radius("cnn", "linf")
    once, twice = (attack(model, x, y, "apgd-ce", eps=eps, steps=8, eot=4, seed=3) for _ in range(2))
    assert torch.equal(once.x_adv, twice.x_adv)
    assert once.passes.backward % 4 == 0
    one_look = attack(model, x, y, "apgd-ce", eps=eps, steps=8, eot=1, seed=3)
    assert once.passes.backward > 2 * one_look.passes.backward


@pytest.mark.slow
def test_a_random_defence_does_not_fall_to_its_own_noise():
    """Of thousands of draws a few are wrong without any perturbation; in every part the mean of 20 decides."""
    net = trained("cnn")
    x, _ = images(200, 18)
    logits = net(x).detach()
    top = logits.topk(2, 1).values
    sure = (top[:, 0] - top[:, 1]).topk(24).indices
    x, y, least = x[sure], logits[sure].argmax(1), float((top[:, 0] - top[:, 1])[sure].min())

    def noisy(v):
        z = net(v)
        return z + 0.4 * least * torch.randn_like(z)

    settings = {"eps": 0, "steps": 10, "targets": 2, "queries": 100}
    assert not attack(noisy, x, y, "autoattack", **settings).robust.all()
    assert attack(noisy, x, y, "autoattack", eot=20, **settings).robust.all()

"""The loop: which images leave, what it costs, and that a verdict is a fresh float32 forward."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from support.attack_models import Counting, Shy, images, radius, trained, victims
from torch import nn

import zsr_kernels
from zsr import registry
from zsr.attacks import Normalized, attack
from zsr.attacks.autoattack import AutoAttack
from zsr.attacks.pgd import PGD


def plain(name: str = "cnn") -> nn.Module:
    """A trained network behind its own counter; the normalisation stays in the open."""
    model = trained(name)
    return Normalized(Counting(model.net), victims.MEAN, victims.STD)


@pytest.mark.parametrize(
    "name, extra",
    [
        ("pgd", {"steps": 9}),
        ("apgd-t", {"steps": 6, "targets": 2}),
        ("fab", {"steps": 3}),
        ("square", {"queries": 25}),
        ("pgd", {"steps": 4, "eot": 3}),
        ("autoattack", {"steps": 4, "targets": 2, "queries": 5, "eot": 2}),
    ],
)
def test_passes_are_counted_as_they_are_spent(name, extra):
    model = plain()
    x, y = images(30, 1)
    v = attack(model, x, y, name, eps=radius("cnn", "linf"), batch_size=8, **extra)
    assert (v.passes.forward, v.passes.backward) == (model.net.forwards, model.net.backwards)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["apgd-ce", "pgd"])
def test_passes_are_those_that_robust_images_need(name):
    """About 40 % stay robust: 100 gradients each, few for the others, one clean and one last forward for all."""
    model = trained("cnn", robust=True)
    x, y = images(256, 2)
    v = attack(model, x, y, name, eps=radius("cnn", "linf", True), batch_size=64, steps=100)
    robust = int(v.robust.sum())
    assert 0.25 < robust / 256 < 0.6
    fooled_at = v.step[v.step > 0]
    needed = 256 + robust * (2 * 100 + 1) + int((2 * fooled_at - 1 + 1).sum())  # k looks, k - 1 gradients, the verdict
    spent = v.passes.forward + v.passes.backward
    assert needed <= spent <= 1.02 * needed
    assert abs(v.overhead - spent / needed) < 0.01
    # each attack of the authors spends 101 forwards and backwards on every correct image
    assert spent < 0.55 * 256 * 2 * 101


def test_the_batch_stays_full_until_the_queue_is_empty():
    model = plain()
    x, y = images(100, 3)
    attack(model, x, y, "pgd", eps=1.5 * radius("cnn", "linf"), batch_size=16, steps=10, shapes="bucket")
    assert set(model.net.shapes) <= {1, 2, 4, 8, 16}
    model.net.shapes.clear()
    attack(model, x[:96], y[:96], "pgd", eps=1.5 * radius("cnn", "linf"), batch_size=16, steps=10, shapes="fixed")
    assert set(model.net.shapes) == {16}


def test_an_image_that_float32_does_not_confirm_is_not_fooled():
    """Every pass predicts wrong classes and float32 does not, so every image is attacked to the end."""
    model = Shy(trained("cnn").net)
    x, y = images(12, 4)
    model = Normalized(model, victims.MEAN, victims.STD)
    v = attack(model, x, y, "pgd", eps=1e-4, steps=7)
    assert v.robust.all() and (v.step == -1).all()
    assert v.passes.backward == 12 * 7
    assert v.passes.forward == 12 * (1 + 7 + 7 + 1)  # clean, loop, a second look at each suspect, the last look


def test_the_last_iterate_is_looked_at_once_more():
    """An image fooled at the very last step counts, and its step is steps + 1."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
        x = torch.full((1, 3, 1, 1), 0.5)
    model = Normalized(nn.Sequential(net, Shift(-1.5 + 0.27)), [0.0] * 3, [1.0] * 3)  # margin 0.27: 0.09 per pixel
    v = attack(model, x, torch.tensor([0]), "pgd", eps=1.0, steps=3, step_size=0.031, random_start=False)
    assert not v.robust[0] and v.step[0] == 4 and v.passes.backward == 3
    assert attack(model, x, torch.tensor([0]), "pgd", eps=1.0, steps=2, step_size=0.031, random_start=False).robust[0]


class Shift(nn.Module):
    def __init__(self, by: float):
        super().__init__()
        self.by = by

    def forward(self, z):
        return torch.stack([z[:, 0] + self.by, z[:, 1]], 1)


def test_the_last_verdict_stops_for_nobody():
    model = plain()
    x, y = images(20, 5)
    v = attack(model, x, y, "pgd", eps=radius("cnn", "linf"), steps=6, verdict="last", batch_size=20)
    assert v.passes.backward == 20 * 6 and v.passes.forward == 20 * (1 + 6 + 1)
    assert set(v.step[~v.robust].tolist()) <= {7}


def test_robust_images_report_their_closest_example():
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(60, 6)
    v = attack(model, x, y, "apgd-ce", eps=eps, steps=20)
    assert (v.margin <= v.clean_margin + 1e-5).all()
    assert (v.margin[v.robust] > 0).all() and (v.margin[~v.robust] <= 0).all()


def test_which_attack_fooled_it():
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(60, 7)
    v = attack(model, x, y, "autoattack", eps=eps, steps=20, targets=3, queries=20)
    first = attack(model, x, y, "apgd-ce", eps=eps, steps=20)
    assert [a == "apgd-ce" for a in v.attack] == (~first.robust & (first.clean == y)).tolist()
    assert set(v.attack) <= {"", "apgd-ce", "apgd-t", "fab-t", "square"}


def test_an_attack_of_the_user_s_own_is_named():
    @dataclass(frozen=True)
    class Mine(PGD):
        label: ClassVar[str] = ""

    v = attack(trained("cnn"), *images(8, 7), Mine(steps=5), eps=2 * radius("cnn", "linf"))
    assert "mine" in v.attack and set(v.attack) <= {"mine", ""}


def test_images_need_not_be_kept():
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(30, 8)
    a = attack(model, x, y, "apgd-ce", eps=eps, steps=10)
    b = attack(model, x, y, "apgd-ce", eps=eps, steps=10, keep_images=False)
    assert b.x_adv is None and torch.equal(a.robust, b.robust) and torch.equal(a.margin, b.margin)


def test_no_images_and_no_robust_images():
    model = trained("cnn")
    x, y = images(5, 9)
    v = attack(model, x[:0], y[:0], "autoattack", eps=0.1)
    assert len(v.robust) == 0 and v.x_adv.shape == (0, 3, 16, 16)
    for name in registry.names("attacks"):
        extra = {"surrogate": model} if name == "transfer" else {}
        v = attack(model, x, (model(x).argmax(1) + 1) % 10, name, eps=0.1, **extra)
        assert not v.robust.any() and (v.step == 0).all() and v.passes.backward == 0


def test_the_networks_precision_does_not_touch_the_verdict():
    """float16 autocast while attacking; predictions and margins are float32 all the same."""
    model, eps = trained("cnn"), radius("cnn", "linf")
    x, y = images(40, 11)
    half = attack(model, x, y, "pgd", eps=eps, steps=10, precision="fp16")
    full = attack(model, x, y, "pgd", eps=eps, steps=10)
    with torch.no_grad():
        assert torch.equal(model(half.x_adv).argmax(1), half.prediction)
    assert (half.robust != full.robust).sum() <= 2


def test_transfer_makes_examples_elsewhere():
    target, surrogate, eps = trained("cnn"), trained("linear"), 2 * radius("cnn", "linf")
    x, _ = images(40, 12)
    seen = target(x).argmax(1)
    blind = lambda v: target(v).detach()  # noqa: E731  a model without gradients
    v = attack(blind, x, seen, "transfer", eps=eps, surrogate=surrogate, steps=10)
    noise = attack(blind, x, seen, "square", eps=eps, queries=1)
    assert v.robust.sum() < 40 and v.robust.sum() <= noise.robust.sum()
    assert (v.x_adv - x).abs().max() <= eps + 1e-6
    itself = attack(target, x, seen, "transfer", eps=eps, surrogate=target, steps=10)
    assert itself.robust.sum() <= attack(target, x, seen, "pgd", eps=eps, steps=10).robust.sum() + 2


def test_transfer_judges_the_last_iterate_whatever_the_surrogate_thinks_of_it():
    """A surrogate whose logits never change, but whose gradient leads away from the label."""
    target, eps = trained("linear"), 2 * radius("linear", "linf")
    x, _ = images(40, 12)
    seen = target(x).argmax(1)

    def surrogate(v):
        logits = target(v)
        return logits - logits.detach() + torch.nn.functional.one_hot(seen_of(v), logits.shape[1])

    def seen_of(v):  # every image that is shown is a perturbed one of x: the nearest
        return seen[torch.cdist(v.detach().flatten(1), x.flatten(1)).argmin(1)]

    v = attack(target, x, seen, "transfer", eps=eps, surrogate=surrogate, steps=10)
    assert v.robust.sum() <= attack(target, x, seen, "pgd", eps=eps, steps=10).robust.sum() + 2
    assert v.robust.sum() < 40


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["apgd-ce", "pgd", "fab-t"])
def test_one_step_is_enough_to_run(name, norm):
    x, y = images(6, 13)
    v = attack(trained("linear"), x, y, name, norm=norm, eps=radius("linear", "linf"), steps=1)
    assert (v.distance <= radius("linear", "linf") + 1e-6).all()


def test_every_way_into_the_network_is_by_the_kernels_asked_for(monkeypatch):
    """On a GPU without Triton 'auto' is an error in the middle of an attack."""
    asked, normalize = set(), zsr_kernels.normalize
    monkeypatch.setattr(zsr_kernels, "normalize", lambda *a: asked.add(a[2]) or normalize(*a))
    x, y = images(6, 13)
    for name, norm in (("fab-t", "linf"), ("apgd-ce", "l1"), ("square", "linf"), ("square", "l2")):
        settings = {"queries": 2} if name == "square" else {"steps": 2}
        attack(trained("cnn"), x, y, name, norm=norm, eps=0.01, kernels="reference", **settings)
    assert asked == {"reference"}


def test_notes_are_of_the_norm():
    """In L1 the targeted part has five targets, which eight classes have."""
    assert any(note.startswith("apgd-t: 7 target classes instead of 9") for note in AutoAttack().notes("linf", 8, ""))
    assert not any(note.startswith("apgd-t") for note in AutoAttack().notes("l1", 8, ""))


def test_square_finds_what_gradients_would_without_them():
    target, eps = trained("cnn"), 1.5 * radius("cnn", "linf")
    x, y = images(40, 13)
    few, many = (attack(lambda v: target(v).detach(), x, y, "square", eps=eps, queries=q).robust for q in (1, 300))
    assert many.sum() < few.sum() and not (many & ~few).any()

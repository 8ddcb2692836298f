"""An attack leaves no trace: gradients, BatchNorm, modes, random numbers, grad mode; also when it raises."""

import copy
import sys

import pytest
import torch
from support.attack_models import images
from torch import nn

from zsr.attacks import Normalized, attack, perturb
from zsr.errors import ZsrError


def fresh() -> Normalized:
    """A small network with BatchNorm and dropout, in train mode, one parameter frozen, one gradient in place."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(256, 10)
    )
    net.train()
    net[1].eval()  # a mixed state, to be restored as it was
    net[0].bias.requires_grad_(False)
    net[5].bias.grad = torch.ones(10)
    return Normalized(net, [0.5] * 3, [0.25] * 3).train(True)


def snapshot(model: nn.Module) -> dict:
    return {
        "weights": copy.deepcopy(model.state_dict()),
        "modes": [m.training for m in model.modules()],
        "needed": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "random": torch.random.get_rng_state(),
        "grad_mode": torch.is_grad_enabled(),
        "trace": sys.gettrace(),
    }


def assert_unchanged(before: dict, after: dict) -> None:
    for name, value in before["weights"].items():
        assert torch.equal(value, after["weights"][name]), name
    for key in ("modes", "needed", "grad_mode", "trace"):
        assert before[key] == after[key], key
    assert torch.equal(before["random"], after["random"])
    for a, b in zip(before["grads"], after["grads"], strict=True):
        assert (a is None) == (b is None) and (a is None or torch.equal(a, b))


@pytest.mark.parametrize(
    "name, extra",
    [
        ("pgd", {"steps": 3}),
        ("apgd-ce", {"steps": 3}),
        ("fab-t", {"steps": 3, "targets": 2}),
        ("square", {"queries": 3}),
        ("autoattack-reference", {"only": "apgd-ce"}),
    ],
)
@pytest.mark.parametrize("grad_mode", [True, False])
def test_nothing_is_left_behind(name, extra, grad_mode):
    model = fresh()
    x, y = images(6, 1)
    before_x = x.clone()
    with torch.set_grad_enabled(grad_mode):
        before = snapshot(model)
        attack(model, x, y, name, eps=0.05, **extra)
        assert_unchanged(before, snapshot(model))
    assert torch.equal(x, before_x) and not x.requires_grad


@pytest.mark.parametrize("name, extra", [("apgd-ce", {"steps": 4}), ("autoattack", {"steps": 3, "queries": 4})])
def test_inference_mode_of_the_caller_is_left_and_restored(name, extra):
    model = fresh()
    x, y = images(6, 7)
    outside = attack(model, x, y, name, eps=0.05, **extra)
    with torch.inference_mode():
        inside = attack(model, x * 1.0, y + 0, name, eps=0.05, **extra)  # images made in there
        assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
    assert torch.equal(inside.x_adv, outside.x_adv) and torch.equal(inside.robust, outside.robust)
    assert not inside.x_adv.is_inference()


class Bomb(nn.Module):
    """Raises at the third forward."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.calls = net, 0

    def forward(self, x):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("out of memory, say")
        return self.net(x)


def test_nothing_is_left_behind_when_the_model_raises():
    model = Bomb(fresh())
    x, _ = images(6, 2)
    y = fresh().eval()(x).argmax(1)
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="out of memory"):
        attack(model, x, y, "pgd", eps=1e-4, steps=5)
    assert_unchanged(before, snapshot(model))


def test_other_devices_keep_their_random_numbers(monkeypatch):
    """`torch.manual_seed` would seed every GPU of the process, also those that the attack has nothing to do with."""

    def seed_all(*_):
        raise AssertionError("all devices were seeded")

    model, (x, y) = fresh(), images(4)
    monkeypatch.setattr(torch, "manual_seed", seed_all)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seed_all)
    attack(model, x, y, "pgd", eps=0.03, steps=2)


def test_the_attack_sees_the_model_in_eval_mode():
    modes = []

    class Witness(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            modes.append(self.training or any(m.training for m in self.modules()))
            return self.net(x)

    x, y = images(4, 3)
    attack(Witness(fresh()), x, y, "pgd", eps=0.05, steps=2)
    assert modes and not any(modes)


def test_the_inner_attack_leaves_gradients_and_statistics_alone():
    model = fresh()
    model.eval()
    x, y = images(6, 4)
    before = snapshot(model)
    perturb(
        model.net, x, lambda z: nn.functional.cross_entropy(z, y, reduction="none"), eps=0.05, steps=3, step_size=0.02,
        mean=model.mean, std=model.std, keys=torch.arange(6),
    )  # fmt: skip
    assert_unchanged(before, snapshot(model))


def test_settings_of_a_raising_attack_are_restored_too():
    model = fresh()
    x, y = images(4, 5)
    before = snapshot(model)
    with pytest.raises(ZsrError):
        attack(model, x, y + 50, "pgd", eps=0.05)
    assert_unchanged(before, snapshot(model))

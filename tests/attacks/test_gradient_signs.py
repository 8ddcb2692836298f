"""Signs of a gradient that leads nowhere: seen where it is so by construction, and nowhere else."""

import pytest
import torch
from torch import nn

from zsr.attacks import attack

N = 24


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = 0.2 + 0.6 * torch.rand(N, 3, 4, 4, generator=generator)
    weights = torch.randn(48, 3, generator=generator)
    y = (x.flatten(1) @ weights).argmax(1)
    return x, y, weights


class Net(nn.Module):
    """Linear, with something done to the logits."""

    def __init__(self, weights, change=lambda z: z):
        super().__init__()
        self.weights, self.change = weights, change

    def forward(self, x):
        return self.change(x.flatten(1) @ self.weights)


class Turned(torch.autograd.Function):
    """Identity whose gradient has the wrong sign."""

    @staticmethod
    def forward(ctx, z):
        return z.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


def signs(net, data, name="pgd", part="pgd", **settings):
    x, y, _ = data
    return attack(net, x, y, name, eps=0.002, seed=0, batch_size=10, **settings), part


@pytest.mark.parametrize("verdict", ["any", "last"])
def test_an_honest_net_shows_no_sign(data, verdict):
    verdicts, part = signs(Net(data[2]), data, steps=8, verdict=verdict)
    seen = verdicts.signs[part]
    assert (seen["images"], seen["zero_gradient"]) == (N, 0)
    assert seen["last"] > seen["first"]
    assert seen["rose"] == seen["ended"] > 10
    assert seen["ended"] == (N if verdict == "last" else int(((verdicts.step < 0) | (verdicts.step > 8)).sum()))
    assert verdicts.unconfirmed == 0


def test_saturated_images_are_counted(data):
    weights = data[2]
    hidden = torch.arange(N) < 7  # these have logits so far apart that their softmax is exactly one-hot

    class Saturated(Net):
        def forward(self, x):
            z = super().forward(x)
            own = torch.cdist(x.flatten(1), data[0].flatten(1)).argmin(1)
            return torch.where(hidden[own][:, None], 1e4 * z, z)

    seen = signs(Saturated(weights), data, steps=4)[0].signs["pgd"]
    assert seen["zero_gradient"] == 7


def test_a_turned_gradient_lowers_the_loss(data):
    seen = signs(Net(data[2], Turned.apply), data, steps=8)[0].signs["pgd"]
    assert seen["ended"] > 10
    assert seen["last"] < seen["first"]
    assert seen["rose"] == 0


def test_the_mean_is_that_of_the_images_at_their_first_and_last_step(data):
    """Two steps from the image itself: the losses are those of x and of one step."""
    x, y, weights = data
    seen = signs(Net(weights), data, steps=2, step_size=0.001, random_start=False, verdict="last")[0].signs["pgd"]
    z = x.clone().requires_grad_()
    first = nn.functional.cross_entropy(z.flatten(1) @ weights, y, reduction="sum")
    (grad,) = torch.autograd.grad(first, z)
    after = (x + 0.001 * grad.sign()).flatten(1) @ weights
    assert seen["first"] == pytest.approx(first.item() / N, rel=1e-4)
    assert seen["last"] == pytest.approx(float(nn.functional.cross_entropy(after, y)), rel=1e-4)


def test_parts_are_apart_and_searches_without_gradient_have_no_signs(data):
    x, y, weights = data
    signs = attack(Net(weights), x, y, "autoattack", eps=0.002, seed=0, steps=4, queries=5, targets=2).signs
    assert set(signs) == {"apgd-ce", "apgd-t", "fab-t"}
    assert "first" not in signs["fab-t"]  # it walks along the boundary: its function need not rise


def test_verdicts_that_float32_does_not_confirm_are_counted(data):
    x, y, weights = data

    def half(z):
        return z.roll(1, dims=1) if torch.is_autocast_enabled("cpu") else z

    verdicts = attack(Net(weights, half), x, y, "pgd", eps=1e-6, seed=0, steps=2, precision="fp16")
    assert verdicts.robust.all()
    assert verdicts.unconfirmed == N

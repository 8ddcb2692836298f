"""Wrong input: one clear line each, that names what is wrong and what to do."""

import pytest
import torch
from support.attack_models import images
from support.project import refused
from torch import nn

from zsr.attacks import Normalized, attack, perturb
from zsr.errors import ZsrError

X, Y = images(6, 0)
NET = nn.Sequential(nn.Flatten(), nn.Linear(768, 10))


def raises(text: str, model=NET, x=X, y=Y, name="pgd", **extra):
    with refused(text):
        attack(model, x, y, name, **({"eps": 0.03} | extra))


class Sudden(nn.Module):
    """Finite where the images are, not where the attack goes."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, x):
        z = NET(x)
        moved = (x.detach() - X[:1]).flatten(1).abs().amax() if len(x) == 1 else 0.0
        return z * self.value if float(moved) > 0 else z


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_is_not_finite(value):
    raises("NaN or infinite", lambda x: NET(x) * value)


def test_logits_that_turn_nan_on_the_way():
    one = slice(0, 1)
    y = NET(X[one]).argmax(1)
    raises("NaN or infinite", Sudden(float("nan")), X[one], y, eps=0.3)


@pytest.mark.parametrize("verdict", ["any", "last"])
def test_a_gradient_that_is_nan(verdict):
    """sqrt has an infinite derivative at 0: logits are finite, the gradient is not."""

    def model(x):
        return NET(x) * (1 + (x - x.detach()).flatten(1).sum(1, keepdim=True).abs().sqrt())

    raises("NaN or infinite", model, y=NET(X).argmax(1), verdict=verdict)


def test_constant_logits():
    raises("same logits for every image", lambda x: torch.ones(len(x), 10) + 0 * x.flatten(1).sum(1, keepdim=True))


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "fab-t", "autoattack"])
def test_a_detached_graph(name):
    y = NET(X).argmax(1)
    raises("no gradient.*'square' or 'transfer'", lambda x: NET(x).detach(), y=y, name=name)


def test_logits_that_do_not_depend_on_the_input():
    y = NET(X).argmax(1)
    frozen = NET(X).detach()
    bias = torch.zeros(10, requires_grad=True)
    raises("do not depend on its input", lambda x: frozen[: len(x)] + bias, y=y)


@pytest.mark.parametrize(
    "model", [lambda x: NET(x)[:, :, None], lambda x: NET(x)[:2], lambda x: (NET(x),), lambda x: NET(x).mean(0)]
)
def test_wrong_output_shapes(model):
    raises(r"must map 6 images to logits \[6, classes\]", model)


def test_one_class():
    raises("one class", lambda x: NET(x)[:, :1])


@pytest.mark.parametrize(
    "change, text",
    [
        ({"x": X * 2 - 1}, r"must lie in \[0, 1\].*Normalized"),
        ({"x": X.double()}, "float32 tensor"),
        ({"x": torch.full_like(X, float("nan"))}, r"must lie in \[0, 1\]"),
        ({"y": Y[:3]}, r"y must be integer labels \[6\]"),
        ({"y": Y.float()}, "y must be integer labels"),
        ({"y": Y - 20}, "labels must be >= 0"),
        ({"y": Y + 20}, "the model has 10 classes"),
        ({"index": torch.arange(3)}, r"index must have one key per image \[6\]"),
        ({"eps": -0.1}, "eps=-0.1"),
        ({"eps": float("nan")}, "eps=nan"),
        ({"eps": float("inf")}, "eps=inf"),
        ({"eps": "8/255"}, "eps='8/255' must be a number"),
        ({"seed": None}, "seed=None must be a whole number"),
        ({"seed": 2**64}, "seed=18446744073709551616 must fit into 64 bits"),
        ({"batch_size": 8.0}, "batch_size=8.0 must be a whole number"),
        ({"model": None}, "the model must be callable, images -> logits; it is NoneType"),
        ({"y": Y > 3}, "y must be integer labels"),
        ({"index": torch.rand(6)}, "index must have one key per image .* is torch.float32"),
        ({"norm": "linff"}, "unknown norm 'linff'; did you mean 'linf'"),
        ({"name": "pdg"}, "unknown attack 'pdg'; did you mean 'pgd'"),
        ({"stpes": 3}, "unknown setting 'stpes'; did you mean 'steps'"),
        ({"step_size": "eps/zero"}, "step_size: 'eps/zero' is no length"),
        ({"verdict": "best"}, "unknown verdict 'best'"),
        ({"name": "apgd-ce", "verdict": "last"}, "verdict='last' exists for"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"shapes": "round"}, "unknown shapes 'round'"),
        ({"precision": "bf16"}, "unknown precision 'bf16'"),
        ({"kernels": "triton"}, "needs a CUDA device"),
        ({"name": "transfer"}, "needs surrogate="),
        ({"steps": 0}, "attack 'PGD': steps is 0; it needs at least one step"),
        ({"steps": "10"}, "steps is '10'"),
        ({"steps": 10.0}, "steps is 10.0"),
        ({"restarts": 0}, "restarts is 0"),  # else every image would be robust, unattacked
        ({"eot": 0}, "eot is 0"),
        ({"name": "apgd-t", "targets": 0}, "targets is 0"),
        ({"name": "square", "queries": 0}, "queries is 0"),
        ({"name": "square", "x": X.flatten(1), "y": NET(X).argmax(1)}, r"on images \[N, C, H, W\], x is \['N', 768\]"),
        ({"step_size": -0.1}, "step_size: '-0.1' is no length"),
        ({"step_size": 0}, "step_size: '0' is no length"),
        ({"name": "autoattack-reference", "version": "standrd"}, "unknown version 'standrd'; did you mean 'standard'"),
        ({"name": "autoattack-reference", "only": "apgd-ce, apgd"}, "unknown attack 'apgd'; did you mean"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)
def test_wrong_arguments(change, text):
    raises(text, **change)


def test_the_normalisation_must_make_sense():
    for mean, std in (([0.5], [0.2, 0.2]), ([0.5], [0.0])):
        with pytest.raises(ZsrError, match="one value per channel each, std > 0"):
            Normalized(NET, mean, std)


def test_the_inner_attack_needs_keys_and_one_loss_per_image():
    with pytest.raises(ZsrError, match="pass keys="):
        perturb(NET, X, lambda z: z.sum(1), eps=0.1, steps=1, step_size=0.1)
    with pytest.raises(ZsrError, match=r"must give losses \[6\], gave \(\)"):
        perturb(NET, X, lambda z: z.sum(), eps=0.1, steps=1, step_size=0.1, keys=torch.arange(6))

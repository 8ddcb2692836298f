"""Verdicts are float32 and passes in the precision asked for, whatever the caller's script has switched on."""

import pytest
import torch
from support.attack_models import images, trained
from torch import backends, nn

from zsr.attacks import attack
from zsr.models.precision import FINE, arithmetic, flags

SETTINGS = {
    "as torch comes": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "older flag": lambda: setattr(backends.cuda.matmul, "allow_tf32", True),
    "older, convolutions": lambda: setattr(backends.cudnn, "allow_tf32", False),
    "newer flag": lambda: setattr(backends.cuda.matmul, "fp32_precision", "tf32"),
    "newer, for all": lambda: setattr(backends, "fp32_precision", "tf32"),
    "newer, convolutions": lambda: setattr(backends.cudnn.conv, "fp32_precision", "ieee"),
}


def reset() -> None:
    for place in (backends, backends.cudnn, backends.mkldnn):
        place.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True
    for place, value in zip(FINE, ("none", "tf32", "tf32", "none", "none"), strict=True):
        place.fp32_precision = value


@pytest.fixture(params=SETTINGS)
def script(request):
    """A user's script that has set something."""
    SETTINGS[request.param]()
    yield
    reset()


def state() -> list:
    fine = [place.fp32_precision for place in (*FINE, backends, backends.cudnn, backends.mkldnn)]
    for read in (torch.get_float32_matmul_precision, lambda: backends.cudnn.allow_tf32):
        try:
            fine.append(read())
        except RuntimeError:
            fine.append("raises")
    return fine


@pytest.mark.parametrize("tf32", [False, True])
def test_flags_are_as_asked_inside_and_as_they_were_outside(script, tf32):
    before = state()
    for _ in range(2):
        with flags(tf32):
            assert {place.fp32_precision for place in FINE} == {"tf32" if tf32 else "ieee"}
            assert backends.cudnn.allow_tf32 == tf32  # a model may read the older ones
            assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    assert [a for a, b in zip(state(), before, strict=True) if b != "raises"] == [b for b in before if b != "raises"]


def test_flags_come_back_after_an_error(script):
    before = state()
    with pytest.raises(ValueError, match="broken"), flags():
        raise ValueError("broken")
    assert state()[: len(FINE)] == before[: len(FINE)]


class Spy(nn.Module):
    """Notes in which arithmetic its forwards and backwards run."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.forwards, self.backwards = net, set(), set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.forwards.add((backends.cuda.matmul.fp32_precision, torch.is_autocast_enabled("cpu")))
        out = self.net(x)
        if out.requires_grad:
            out.register_hook(lambda _: self.backwards.add(backends.cuda.matmul.fp32_precision))
        return out


@pytest.mark.parametrize(
    ("precision", "forwards", "backwards"),
    [
        ("fp32", {("ieee", False)}, {"ieee"}),
        ("tf32", {("ieee", False), ("tf32", False)}, {"tf32"}),  # clean look and verdicts, and the attack's passes
        ("fp16", {("ieee", False), ("ieee", True)}, {"ieee"}),
    ],
)
def test_backwards_run_as_their_forwards(script, precision, forwards, backwards):
    spy = Spy(trained("cnn"))
    x, y = images(6, seed=3)
    attack(spy, x, y, "pgd", eps=0.03, steps=2, precision=precision)
    assert (spy.forwards, spy.backwards) == (forwards, backwards)


def test_the_callers_autocast_stays_outside():
    x, y = images(24, seed=3)
    plain = attack(trained("cnn"), x, y, "fab-t", eps=0.03, steps=3, targets=2)
    with torch.autocast("cpu", torch.bfloat16):
        inside = attack(trained("cnn"), x, y, "fab-t", eps=0.03, steps=3, targets=2)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(plain.margin, inside.margin)
    assert torch.equal(plain.clean_margin, inside.clean_margin)
    assert torch.equal(plain.x_adv, inside.x_adv)


def test_float16_is_autocast():
    with arithmetic(torch.device("cpu"), "fp16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16

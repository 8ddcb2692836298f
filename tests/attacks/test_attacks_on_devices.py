"""A step on a GPU, pretended: every constant lies where the images lie, and nothing waits for the host.

Fake tensors have a device and a shape and no values: whatever would read a value, which on a GPU waits until all that
is queued has run, raises, as does an operation on tensors of two devices.
"""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from zsr.attacks import perturb
from zsr.attacks.core import hyperplane
from zsr.attacks.core.apgd_l1_schedule import SparseSteps
from zsr.attacks.core.apgd_schedule import AdaptiveSteps
from zsr.attacks.core.batch_shapes import BatchShapes
from zsr.attacks.core.engine import Engine
from zsr.attacks.core.gradient_signs import FIRST_LOSS
from zsr.attacks.core.objectives import KL, CrossEntropy, Margin, TargetedDifference, TargetedDLR
from zsr.attacks.core.schedule import Round
from zsr.attacks.core.slots import IDLE, Slots
from zsr.attacks.core.square_patches import PatchSteps, pattern, patterns
from zsr.attacks.core.threat import Threat
from zsr.attacks.core.victim import Victim
from zsr.attacks.fab import AllDifferences, BoundarySteps
from zsr.attacks.pgd import FixedSteps
from zsr.attacks.square import NegativeMargin, SquareSteps
from zsr_kernels import Normalisation, balls

GPU = torch.device("cuda", 1)
BATCH, SHAPE, CLASSES = 4, (3, 16, 16), 10
STEPS = {
    "pgd": ("linf l2 l1", FixedSteps(5, 0.01), CrossEntropy()),
    "momentum": ("linf l2 l1", FixedSteps(5, 0.01, momentum=0.9), Margin()),
    "tpgd": ("linf", FixedSteps(5, 0.01, random_start=False), KL()),
    "apgd": ("linf l2", AdaptiveSteps(5), TargetedDLR()),
    "apgd-l1": ("l1", SparseSteps(5), CrossEntropy()),
    "fab": ("linf l2 l1", BoundarySteps(5, random_start=True), AllDifferences()),
    "fab-t": ("linf l2 l1", BoundarySteps(5), TargetedDifference()),
    "square": ("linf", SquareSteps(20), NegativeMargin()),
    "square-patches": ("l2 l1", PatchSteps(20), NegativeMargin()),
}
CASES = [(name, norm) for name, (norms, _, _) in STEPS.items() for norm in norms.split()]


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is not the current one, and lists sent there in the way that waits are refused."""
    for module in (balls, hyperplane):  # in every eighth round these ask, and wait, on purpose
        monkeypatch.setattr(module, "rarely", lambda *_: False)
    make = torch.tensor

    def tensor(*arguments, device=None, **options):
        assert device is None or torch.device(device).type == "cpu", "torch.tensor(…, device=) waits; use `sent`"
        return make(*arguments, device=device, **options)

    with FakeTensorMode(allow_non_fake_inputs=True):
        normalisation = Normalisation(torch.rand(3, device=GPU), torch.rand(3, device=GPU))
        monkeypatch.setattr(torch, "tensor", tensor)
        # autograd's own thread for the device wants a real one
        monkeypatch.setattr(torch.autograd, "grad", lambda _, x, **options: (torch.empty_like(x),))
        yield normalisation
    pattern.cache_clear(), patterns.cache_clear()  # of patterns without values


def network(x):
    return x.flatten(1)[:, :CLASSES].square()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
@pytest.mark.parametrize("uint8", [False, True], ids=["float32", "uint8"])
@pytest.mark.parametrize("name, norm", CASES)
def test_a_pass_stays_on_the_device_and_never_waits(name, norm, uint8, gpu):
    _, schedule, objective = STEPS[name]
    threat = Threat(norm, 0.03, gpu, "reference")
    engine = Engine(Victim(network, device=GPU), threat, BatchShapes(BATCH), verdict="last")
    ledger, slots = SimpleNamespace(needed=0), Slots(BATCH)
    y = torch.zeros(BATCH, dtype=torch.int64, device=GPU)
    state = {"x0": torch.empty(BATCH, *SHAPE, dtype=torch.uint8 if uint8 else torch.float32, device=GPU), "y": y}
    state |= {"key": y.clone(), FIRST_LOSS: torch.zeros(BATCH, device=GPU)}
    clean = torch.empty(BATCH, CLASSES, device=GPU)
    state |= {f"aux.{key}": value for key, value in objective.prepare(clean, y).items()}
    state |= schedule.begin(threat, state, 0, 0)
    slots.state = state
    for k in range(5):
        slots.image, slots.age = [0, 1, 2, IDLE], [k, k, max(k - 1, 0), k]  # one began later, one slot is idle
        engine._pass(ledger, Round(name, schedule, objective), slots)
        schedule.suspects(threat, state, y > 0)
        assert {value.device for value in state.values()} == {GPU}


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_attack_inside_training_never_waits(norm, gpu):
    x0, keys = torch.rand(BATCH, *SHAPE, device=GPU), torch.arange(BATCH, device=GPU)
    given = {"mean": gpu.mean, "std": gpu.std, "keys": keys, "kernels": "reference", "norm": norm}
    out = perturb(network, x0, lambda z: z.sum(1), eps=0.03, steps=2, step_size=0.01, **given)
    assert out.x.device == out.net_input.device == GPU

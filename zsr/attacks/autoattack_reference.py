"""The authors' own AutoAttack inside the pipeline: the package `pyautoattack`, or `autoattack` if that is installed.

Use it to get exactly their number. Their examples are scored here like all others (a fresh float32 forward, inside ball
and box), and their passes are counted. Two settings are adapted, since their code crashes otherwise, and noted in the
result: no more target classes than there are, and no DLR loss where it is undefined. Subsets run with
`version="standard"` too: their "custom" means five restarts without saying so.
"""

import importlib
import inspect
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from zsr.attacks.core.base import Attack
from zsr.attacks.core.engine import Engine
from zsr.attacks.core.ledger import Ledger
from zsr.attacks.core.out_of_memory import Passes
from zsr.attacks.core.victim import Victim
from zsr.errors import ZsrError, unknown

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
VERSIONS = ("standard", "plus", "rand")
PARTS = ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t")
MIN_CLASSES = {"apgd-dlr": 3, "apgd-t": 4}


@dataclass(frozen=True)
class AutoAttackReference(Attack):
    """`only`: a subset such as 'apgd-ce,apgd-dlr'; empty for all of the version's attacks."""

    label: ClassVar[str] = "AutoAttack (authors)"

    version: Literal["standard", "plus", "rand"] = "standard"
    only: str = ""

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise unknown("version", self.version, VERSIONS, "attack 'autoattack-reference'")
        for part in self.chosen():
            if part not in PARTS:
                raise unknown("attack", part, PARTS, "attack 'autoattack-reference': only")

    def chosen(self) -> list[str]:
        """The names in `only`."""
        return [part for part in self.only.replace(" ", "").split(",") if part]

    def run(self, engine: Engine, ledger: Ledger, name: str) -> list[str]:
        package = installed()
        robust = ledger.still_robust()
        if not len(robust):
            return [f"{name}: {package.__name__}, no image to attack"]
        device, classes = engine.victim.device, ledger.clean_logits.shape[1]
        model = Counted(plain(engine.victim))
        norm = NORMS[engine.threat.norm]
        theirs = package.AutoAttack(
            model, norm=norm, eps=engine.threat.eps, seed=engine.seed, version=self.version, device=device
        )
        theirs.verbose = False
        if self.chosen():
            theirs.attacks_to_run = self.chosen()
        notes = _fit(theirs, classes, name)
        x, y = engine.scorer.pixels(ledger.x[robust]), ledger.y[robust].to(device)
        x_adv = _quietly(theirs, x, y, engine.shapes.batch_size)
        for part in torch.split(torch.arange(len(robust)), engine.shapes.batch_size):
            examples = engine.threat.project(x_adv[part], x[part])
            images = robust[part.to(robust.device)].tolist()
            engine.scorer.score(ledger, name, images, examples, [1] * len(images), final=True)
        passes = engine.victim.passes
        passes.backward += model.passes.backward
        ledger.needed += model.passes.forward + model.passes.backward
        if engine.victim.precision == "fp16":
            notes.append(f"{name}: passes in float32, for the authors' losses are not scaled for float16")
        return [*notes, f"{name}: {package.__name__}, version {self.version}, {', '.join(theirs.attacks_to_run)}"]


def plain(victim: Victim) -> Victim:
    """The victim, in float32 where it would run in float16: there the gradient of a confident image is 0."""
    if victim.precision != "fp16":
        return victim
    plain_victim = Victim(victim.model, device=victim.device)
    plain_victim.passes = victim.passes
    return plain_victim


class Counted(torch.nn.Module):
    """Images in [0, 1] -> logits through the victim, forwards and backwards counted."""

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim
        self.passes = Passes()

    def forward(self, x: Tensor) -> Tensor:
        self.passes.forward += len(x)
        if x.requires_grad and torch.is_grad_enabled():
            x = _count_backward(x, self.passes)
        return self.victim.logits(self.victim.network_input(x))


class _CountBackward(torch.autograd.Function):
    """Identity; its backward counts image-passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, passes: Passes) -> Tensor:
        ctx.passes = passes
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ctx.passes.backward += len(grad)
        return grad, None


def _count_backward(x: Tensor, passes: Passes) -> Tensor:
    counted: Tensor = _CountBackward.apply(x, passes)  # type: ignore[no-untyped-call]  # torch's `apply` has no types
    return counted


def installed() -> ModuleType:
    """The authors' package."""
    for package in ("pyautoattack", "autoattack"):
        if find_spec(package):
            return importlib.import_module(package)
    raise ZsrError("attack 'autoattack-reference' needs the authors' package: pip install pyautoattack")


def _fit(theirs: Any, classes: int, name: str) -> list[str]:
    """Their attacks for this number of classes, and what was changed."""
    notes = []
    for part, least in MIN_CLASSES.items():
        if part in theirs.attacks_to_run and classes < least:
            theirs.attacks_to_run = [a for a in theirs.attacks_to_run if a != part]
            notes.append(f"{name}: {part} left out, its loss needs {least} classes, there are {classes}")
    for part in (theirs.apgd_targeted, theirs.fab):
        if part.n_target_classes > classes - 1:
            part.n_target_classes = classes - 1
            notes.append(f"{name}: {classes - 1} target classes, there are no more")
    return list(dict.fromkeys(notes))


def _quietly(theirs: Any, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    """Run it; its seeding of the global generators and its call of sys.settrace(None) are undone."""
    run, trace = theirs.run_standard_evaluation, sys.gettrace()
    # the package that is installed from the repository says bs; asked, not tried: a TypeError may be the model's own
    size = "batch_size" if "batch_size" in inspect.signature(run).parameters else "bs"
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices):
            result = run(x, y, **{size: batch_size})
    finally:
        sys.settrace(trace)
    x_adv: Tensor = result[0] if isinstance(result, tuple) else result
    return x_adv.detach()

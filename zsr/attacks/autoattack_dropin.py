"""`AutoAttack`, a drop-in for the class of the authors' package.

    adversary = AutoAttack(model, norm="Linf", eps=8/255, version="standard")
    x_adv = adversary.run_standard_evaluation(x, y, bs=250)

Same calls, same attributes to tune (`attacks_to_run`, `apgd.n_restarts`, `fab.n_target_classes`, `square.n_queries`);
`model` may be `Normalized`. Scripts for `pyautoattack` may say `attacks=` and `batch_size=`; what they unpack as a pair
comes with `return_labels=True`. Deliberate differences: `seed=None` means 0, not the clock; `version="custom"` means
one restart, as in the other versions, not five; the global generators are left alone. `verdicts` has the last run's
detail.
"""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from zsr.attacks.apgd_ce import APGDCE
from zsr.attacks.apgd_dlr import APGDDLR
from zsr.attacks.apgd_t import APGDT
from zsr.attacks.api import attack
from zsr.attacks.autoattack import AutoAttack as Standard
from zsr.attacks.core.base import Attack
from zsr.attacks.core.verdicts import Verdicts
from zsr.attacks.core.victim import Model, Victim
from zsr.attacks.fab import FAB
from zsr.attacks.fab_t import FABT
from zsr.attacks.square import Square
from zsr.errors import ZsrError, unknown
from zsr_kernels import reference

VERSIONS = {
    "standard": ["apgd-ce", "apgd-t", "fab-t", "square"],
    "plus": ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"],
    "rand": ["apgd-ce", "apgd-dlr"],
    "custom": [],
}
NORMS = {"Linf": "linf", "L2": "l2", "L1": "l1"}


@dataclass(frozen=True)
class Chosen(Standard):
    """AutoAttack with the parts that the caller chose."""

    chosen: tuple[tuple[str, Attack], ...] = ()

    def parts(self, norm: str) -> dict[str, Attack]:
        return dict(self.chosen)


class Settings(SimpleNamespace):
    """The settings of one attack; a misspelt attribute raises, since nothing would read it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in vars(self):
            raise unknown("setting", name, vars(self), "AutoAttack")
        super().__setattr__(name, value)


class AutoAttack:
    """The authors' constructor; `device` is the model's own if not given, `log_path` and `verbose` print a summary."""

    def __init__(
        self,
        model: Model,
        norm: str = "Linf",
        eps: float = 0.3,
        seed: int | None = None,
        verbose: bool = True,
        attacks_to_run: list[str] | None = None,
        version: str = "standard",
        is_tf_model: bool = False,
        device: torch.device | str | None = None,
        log_path: str | None = None,
        *,
        attacks: list[str] | None = None,
    ) -> None:
        attacks_to_run = attacks_to_run or attacks
        if norm not in NORMS:
            raise unknown("norm", norm, NORMS, "AutoAttack")
        if version not in VERSIONS:
            raise unknown("version", version, VERSIONS, "AutoAttack")
        if is_tf_model:
            raise ZsrError("AutoAttack: TensorFlow models are not supported; give a callable from tensors to logits")
        if attacks_to_run and version != "custom":
            raise ZsrError("AutoAttack: attacks_to_run goes with version='custom'")
        self.model, self.norm, self.epsilon, self.version = model, norm, eps, version
        self.seed, self.verbose, self.device, self.log_path = seed, verbose, device, log_path
        self.attacks_to_run = list(attacks_to_run or VERSIONS[version])
        plus, l1 = version == "plus", norm == "L1"
        restarts = 5 if plus or (l1 and version == "standard") else 1
        common = {"n_iter": 100, "thr_decr": 0.75}
        self.apgd = Settings(n_restarts=restarts, eot_iter=20 if version == "rand" else 1, **common)
        self.apgd_targeted = Settings(n_restarts=1, eot_iter=1, n_target_classes=5 if l1 and not plus else 9, **common)
        self.fab = Settings(
            n_restarts=5 if plus else 1, n_iter=100, n_target_classes=9, alpha_max=0.1, eta=1.05, beta=0.9
        )
        self.square = Settings(n_queries=5000, n_restarts=1, p_init=0.8)
        self.verdicts: Verdicts | None = None

    def _parts(self, names: list[str]) -> tuple[tuple[str, Attack], ...]:
        a, t, f, s = self.apgd, self.apgd_targeted, self.fab, self.square
        known = {
            "apgd-ce": APGDCE(a.n_iter, a.n_restarts, a.thr_decr, a.eot_iter),
            "apgd-dlr": APGDDLR(a.n_iter, a.n_restarts, a.thr_decr, a.eot_iter),
            "apgd-t": APGDT(t.n_iter, t.n_restarts, t.thr_decr, t.eot_iter, t.n_target_classes),
            "fab": FAB(f.n_iter, f.n_restarts, f.alpha_max, f.eta, f.beta),
            "fab-t": FABT(f.n_iter, 1, f.alpha_max, f.eta, f.beta, f.n_target_classes),
            "square": Square(s.n_queries, s.p_init, s.n_restarts),
        }
        for name in names:
            if name not in known:
                raise unknown("attack", name, known, "AutoAttack: attacks_to_run")
        return tuple((name, known[name]) for name in names)

    def _run(
        self, names: list[str], x: Tensor, y: Tensor, bs: int, return_labels: bool
    ) -> Tensor | tuple[Tensor, Tensor]:
        parts = self._parts(names)
        eot = max([part.eot for _, part in parts], default=1)
        self.verdicts = v = attack(
            self.model, x, y, Chosen(eot=eot, chosen=parts), norm=NORMS[self.norm], eps=self.epsilon,
            seed=self.seed or 0, batch_size=bs, device=self.device,
        )  # fmt: skip
        self._report(v, names, y)
        assert v.x_adv is not None
        # as the authors do: the clean image if it is robust
        x_adv = reference.select(v.robust, reference.pixels(x), v.x_adv)
        return (x_adv, torch.where(v.robust, v.clean, v.prediction)) if return_labels else x_adv

    def run_standard_evaluation(
        self,
        x_orig: Tensor,
        y_orig: Tensor,
        bs: int = 250,
        return_labels: bool = False,
        state_path: Path | None = None,
        *,
        batch_size: int | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The adversarial example of each fooled image, the clean image if it is robust; with predictions or not."""
        if state_path is not None:
            raise ZsrError("AutoAttack: state_path is not supported; run part by part, or use the pipeline")
        return self._run(self.attacks_to_run, x_orig, y_orig, batch_size or bs, return_labels)

    def run_standard_evaluation_individual(
        self,
        x_orig: Tensor,
        y_orig: Tensor,
        bs: int = 250,
        return_labels: bool = False,
        *,
        batch_size: int | None = None,
    ) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        """Each attack alone on all images."""
        size = batch_size or bs
        return {name: self._run([name], x_orig, y_orig, size, return_labels) for name in self.attacks_to_run}

    def clean_accuracy(self, x_orig: Tensor, y_orig: Tensor, bs: int = 250) -> float:
        """Share of correct predictions."""
        device = torch.device(self.device) if self.device is not None else None
        victim = Victim(self.model, device=device, otherwise=x_orig.device)
        right = 0
        with victim.frozen():
            for x, y in zip(torch.split(x_orig, bs), torch.split(y_orig, bs), strict=True) if len(y_orig) else ():
                labels = y.to(victim.device)
                right += int((victim.score(reference.pixels(x.to(victim.device)), labels)[0] == labels).sum())
        return right / max(len(y_orig), 1)

    def _report(self, v: Verdicts, names: list[str], y: Tensor) -> None:
        n = max(len(y), 1)
        robust = int((v.clean == torch.as_tensor(y, device=v.clean.device)).sum())
        lines = [f"initial accuracy: {robust / n:.2%}"]
        for name in names:
            robust -= sum(part == name for part in v.attack)
            lines.append(f"robust accuracy after {name.upper()}: {robust / n:.2%}")
        if self.verbose:
            print("\n".join(lines))
        if self.log_path:
            with open(self.log_path, "a", encoding="utf-8") as log:
                log.write("\n".join(lines) + "\n")

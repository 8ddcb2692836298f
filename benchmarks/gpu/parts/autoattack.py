"""AutoAttack `standard` on ViT-B/32 against the authors' package, both with the same shortened budget.

The shares of the parts are about those of the whole budget (100 steps, 9 target classes, 5,000 queries), which would
take theirs ten minutes.
"""

from functools import partial

import torch

from gpu import towers
from gpu.bench import Bench
from zsr import registry
from zsr.attacks import Normalized, attack
from zsr.attacks.autoattack_reference import _quietly, installed

FULL = ("B/32", 128, {"steps": 20, "targets": 5, "queries": 500})
TINY = ("tiny", 4, {"steps": 2, "targets": 3, "queries": 3})


def run(bench: Bench) -> None:
    name, count, budget = bench.size(FULL, TINY)
    label = "B/32, 128 images"
    precisions = ("fp32", "fp16") if bench.cuda else ("fp32",)
    fast = ("fast",) if "autoattack-fast" in registry.names("attacks") else ()
    sides = [f"{kind} {p}" for kind in ("standard", *fast) for p in precisions]
    with bench.case(label, *sides, "pyautoattack fp32", seconds=40) as wanted:
        if not wanted:
            return
        model = towers.victim(name, bench.device)
        x = towers.images(name, count, bench.device)
        y = towers.predictions(model, x, count)
        eps = towers.radius(model, x, y, precisions[-1])
        for side in sides:
            kind, precision = side.split()
            attacked, more = ("autoattack", budget) if kind == "standard" else ("autoattack-fast", {})
            more |= {"eps": eps, "batch_size": count, "precision": precision, "keep_images": False}
            attack(model, x[:2], y[:2], attacked, **more)  # compiles the kernels
            took, verdicts = bench.once(partial(attack, model, x, y, attacked, index=torch.arange(count), **more))
            standing = f"ε = {eps:.2g}, {int(verdicts.robust.sum())} of {count} stand"
            bench.row(label, side, took, "s", note=standing)
        theirs(bench, label, model, x, y, eps, budget)


def theirs(
    bench: Bench, label: str, model: Normalized, x: torch.Tensor, y: torch.Tensor, eps: float, budget: dict
) -> None:
    """The authors' code with the same steps, target classes and queries."""
    package = installed()
    other = package.AutoAttack(model, norm="Linf", eps=eps, seed=0, version="standard", device=bench.device)
    other.verbose = False
    steps = budget["steps"]
    for part in (other.apgd, other.apgd_targeted, other.fab):
        part.n_iter = steps
    for part in (other.apgd, other.apgd_targeted):  # computed from n_iter when it was built
        part.n_iter_2, part.n_iter_min = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
    for part in (other.apgd_targeted, other.fab):
        part.n_target_classes = budget["targets"]
    other.square.n_queries = budget["queries"]
    took, found = bench.once(partial(_quietly, other, x.float() / 255, y, len(x)))
    with torch.no_grad():
        standing = int((model(found).argmax(1) == y).sum())
    bench.row(label, "pyautoattack fp32", took, "s", note=f"{standing} of {len(x)} stand")

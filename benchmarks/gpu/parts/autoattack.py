"""AutoAttack `standard` on ViT-B/32 against the authors' package, both with the same shortened budget.

With the whole budget (100 steps, 9 target classes, 5,000 queries) theirs would take ten minutes; the four attacks take
about the same shares of the time here.
"""

from functools import partial

import torch
from torch import Tensor

from gpu import towers
from gpu.bench import Bench
from zsr import registry
from zsr.attacks import Normalized, attack
from zsr.attacks.autoattack_reference import _quietly, installed
from zsr_kernels import reference

LABEL = "B/32, 128 images"
FULL = ("B/32", 128, {"steps": 20, "targets": 5, "queries": 500})
TINY = ("tiny", 4, {"steps": 2, "targets": 3, "queries": 3})


def run(bench: Bench) -> None:
    bench.case(LABEL, partial(compare, bench), seconds=40)


def compare(bench: Bench) -> None:
    """Ours in each precision, then theirs."""
    name, count, budget = bench.size(FULL, TINY)
    precisions = ("fp32", "fp16") if bench.cuda else ("fp32",)
    model, x = towers.victim(name, bench.device), towers.images(name, count, bench.device)
    y = towers.predictions(model, x, count)
    eps = towers.radius(model, x, y, precisions[-1])
    attacks = {"standard": partial(attack, name="autoattack", **budget)}
    if "autoattack-fast" in registry.names("attacks"):
        attacks["fast"] = partial(attack, name="autoattack-fast")
    for kind, ours in attacks.items():
        for precision in precisions:
            settings = {"eps": eps, "batch_size": count, "precision": precision, "keep_images": False}
            ours(model, x[:2], y[:2], **settings)  # compiles the kernels
            took, found = bench.time_once(partial(ours, model, x, y, index=torch.arange(count), **settings))
            bench.row(LABEL, f"{kind} {precision}", took, "s", note=towers.outcome(found, eps))
    authors(bench, model, x, y, eps, budget)


def authors(bench: Bench, model: Normalized, x: Tensor, y: Tensor, eps: float, budget: dict) -> None:
    """The authors' code with the same steps, target classes and queries."""
    theirs = installed().AutoAttack(model, norm="Linf", eps=eps, seed=0, version="standard", device=bench.device)
    theirs.verbose = False
    steps = budget["steps"]
    for part in (theirs.apgd, theirs.apgd_targeted, theirs.fab):
        part.n_iter = steps
    for part in (theirs.apgd, theirs.apgd_targeted):  # computed from n_iter when it was built
        part.n_iter_2, part.n_iter_min = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
    for part in (theirs.apgd_targeted, theirs.fab):
        part.n_target_classes = budget["targets"]
    theirs.square.n_queries = budget["queries"]
    took, found = bench.time_once(partial(_quietly, theirs, reference.pixels(x), y, len(x)))
    with torch.no_grad():
        robust = int((model(found).argmax(1) == y).sum())
    bench.row(LABEL, "pyautoattack fp32", took, "s", note=f"{robust} of {len(x)} robust")

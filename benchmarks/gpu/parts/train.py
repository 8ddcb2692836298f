"""A fine-tuning step of ViT-B/32 under float16 autocast: against its floor and the papers' formulation; peak memory.

The variants are those of benchmarks/train_step.py, which says what each of them computes.
"""

import itertools
from functools import partial
from statistics import median

from gauges import peak
from train_step import StepVariants, definition

from gpu.bench import Bench
from zsr.models.backbone import Backbone, build

METHODS = ("tecoa", "pmg-aft", "tga-zsr", "caw")
CLASSES = (1000, 200)
SIDES = ("ours", "reference", "floor", "papers")


def run(bench: Bench) -> None:
    backbone = build(definition(bench.size("b32", "small")))
    for classes, name in itertools.product(CLASSES, METHODS):
        label = f"{name}, batch 128, {classes} classes"
        bench.case(label, partial(step, bench, label, backbone, name, classes), seconds=6)


def step(bench: Bench, label: str, backbone: Backbone, name: str, classes: int) -> None:
    """Milliseconds of each variant, and megabytes of two."""
    classes, batch = bench.size((classes, 128), (10, 4))
    variants = StepVariants(backbone, name, classes, batch, bench.device, "fp16" if bench.cuda else "off")
    runs = {side: getattr(variants, side) for side in SIDES}
    for run in runs.values():
        run()  # warms up, and makes the optimiser's state
    for side in ("ours", "papers"):
        bench.row(label, side, peak(runs[side], bench.device), "MB")
    for side, times in bench.time_in_turns(runs, 9).items():
        bench.row(label, side, median(times), "ms", times)

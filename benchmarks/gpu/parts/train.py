"""A fine-tuning step of ViT-B/32 under float16 autocast: over its floor, against the papers' formulation, peak memory.

The sides are those of benchmarks/train_step.py, which says what each of them computes.
"""

import itertools

from gauges import peak
from train_step import Side, definition

from gpu.bench import Bench, middle
from zsr.models.backbone import build

METHODS = ("tecoa", "pmg-aft", "tga-zsr", "caw")
COUNTS = (1000, 200)  # classes


def run(bench: Bench) -> None:
    arch, batch = bench.size(("b32", 128), ("small", 4))
    backbone = build(definition(arch))
    sides = ("ours", "reference", "floor", "papers")
    for classes, name in itertools.product(COUNTS, METHODS):
        label = f"{name}, batch 128, {classes} classes"
        with bench.case(label, *sides, seconds=6) as wanted:
            if not wanted:
                continue
            step = Side(backbone, name, bench.size(classes, 10), batch, bench.device, "fp16" if bench.cuda else "off")
            assert step.task.frozen is not step.visual  # made before memory is looked at
            runs = {side: getattr(step, side) for side in sides}
            step.ours()  # makes the optimiser's state
            for side, made in runs.items():
                if side in ("ours", "papers"):
                    bench.row(label, side, peak(made, bench.device), "MB")
                else:
                    made()
            for side, times in bench.turns(runs, 9).items():
                bench.row(label, side, middle(times), "ms", times)

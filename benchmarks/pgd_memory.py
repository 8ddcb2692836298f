"""Peak memory of PGD on a CLIP tower on a CPU: ours against torchattacks.

    python benchmarks/pgd_memory.py                    # B/32, batch 64
    python benchmarks/pgd_memory.py --batch 64 256     # about 14 GiB, ten minutes

What is printed is the peak of the resident set above what the process held before the attack: model, images and
libraries are not in it. The model is used as loaded, with parameters that require gradients; ours freezes them while it
attacks. Rows are appended to benchmarks/results/pgd_memory.csv. `on_gpu.py --only memory` is the same on a GPU.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from gauges import peak, processor
from gpu import towers
from lines import append

from zsr.attacks import attack
from zsr_kernels import reference

RESULTS = Path(__file__).parent / "results" / "pgd_memory.csv"
COLUMNS = ("model", "side", "batch", "steps", "attack_MB", "of_theirs", "device", "torch")


def peaks(name: str, batch: int, steps: int, device: str) -> Iterator[tuple[str, float]]:
    """Megabytes that each side adds to the model and the images; every image is attacked to the last step."""
    import torchattacks

    model = towers.victim(name, device).requires_grad_(True)
    x = reference.pixels(towers.images(name, batch, device))
    y = towers.predictions(model, x, min(batch, 8))
    settings = {"eps": 4 / 255, "steps": steps, "batch_size": batch, "verdict": "last"}
    ours = partial(attack, name="pgd", **settings)
    theirs = torchattacks.PGD(model, eps=4 / 255, alpha=1 / 255, steps=steps)
    towers.check_attacked(ours(model, x[:2], y[:2]), steps)
    theirs(x[:2], y[:2])  # now both have made the libraries' own buffers
    yield "ours", peak(partial(ours, model, x, y), device)
    yield "torchattacks", peak(partial(theirs, x, y), device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="B/32", choices=tuple(towers.CLIP))
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("--steps", type=int, default=2, help="memory does not grow with them")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for batch in options.batch:
        found = dict(peaks(options.model, batch, options.steps, "cpu"))
        for side, grown in found.items():
            row = {
                "model": options.model, "side": side, "batch": batch, "steps": options.steps,
                "attack_MB": round(grown, 1), "of_theirs": round(grown / found["torchattacks"], 3),
                "device": processor(), "torch": torch.__version__,
            }  # fmt: skip
            append(options.out, COLUMNS, [row])
            print(*(f"{key}={value}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()

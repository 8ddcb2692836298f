"""Ours against the authors' AutoAttack: robust accuracy, passes and seconds, on the same models, images and seeds.

    python benchmarks/oracle.py                          # everything: hours of one core; resumes where it stopped
    python benchmarks/oracle.py --models cnn --norms linf --attacks apgd-ce --seeds 0
    python benchmarks/oracle.py --attacks standard --images 64 --queries 1000      # short rows, told apart in the table
    python benchmarks/oracle.py --table                  # the table, from the CSV

One row per (model, norm, attack, seed) in benchmarks/results/oracle.csv. Both sides run in one process on one
thread, the model frozen for both. Theirs: version "standard", then `attacks_to_run` ("custom" means five restarts).
The goal is a mean robust accuracy over the seeds of at most theirs + one image. A row with 256 images takes both sides
together, in minutes of one core: `standard` 0.5 (linear) to 4 (clip), `square` up to 2.5, `fab-t` and `apgd-t` up to 1.
"""

import argparse
import csv
import platform
import statistics
import time
from collections import defaultdict
from pathlib import Path

import torch
import victims
from lines import append
from torch import Tensor, nn

from zsr.attacks import Normalized, Passes, attack
from zsr.attacks.autoattack_reference import NORMS, _CountBackward, _quietly, installed

ROBUST = {"linear": False, "cnn": True, "vit": False, "clip": True}
PARTS = ("apgd-ce", "apgd-t", "fab-t", "square")
RESULTS = Path(__file__).parent / "results" / "oracle.csv"
COLUMNS = (
    "model", "robust_model", "norm", "eps", "attack", "images", "queries", "seed", "clean", "ours", "theirs",
    "ours_forward", "ours_backward", "theirs_forward", "theirs_backward", "ours_cpu_s", "theirs_cpu_s", "overhead",
    "torch", "machine",
)  # fmt: skip


class Counted(nn.Module):
    """A model whose image-passes are counted."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.passes = model, Passes()

    def forward(self, x: Tensor) -> Tensor:
        self.passes.forward += len(x)
        if x.requires_grad and torch.is_grad_enabled():
            x = _CountBackward.apply(x, self.passes)
        return self.model(x)


def compare(model: Normalized, x: Tensor, y: Tensor, norm: str, eps: float, name: str, seed: int, queries: int) -> dict:
    """Both sides on these images: correct images left, passes, CPU seconds."""
    settings = {"queries": queries} if name in ("square", "standard") else {}
    ours_name = "autoattack" if name == "standard" else name
    begun = time.process_time()
    v = attack(model, x, y, ours_name, norm=norm, eps=eps, seed=seed, batch_size=128, **settings)
    ours_s = time.process_time() - begun

    counted = Counted(model).eval()
    theirs = installed().AutoAttack(counted, norm=NORMS[norm], eps=eps, seed=seed, version="standard", device="cpu")
    theirs.verbose = False
    theirs.square.n_queries = queries
    if name != "standard":
        theirs.attacks_to_run = [name]
    begun = time.process_time()
    x_adv = _quietly(theirs, x, y, 128)
    theirs_s = time.process_time() - begun
    with torch.no_grad():
        standing = int((model(x_adv).argmax(1) == y).sum())
    return {
        "clean": int((v.clean == y).sum()), "ours": int(v.robust.sum()), "theirs": standing,
        "ours_forward": v.passes.forward, "ours_backward": v.passes.backward,
        "theirs_forward": counted.passes.forward, "theirs_backward": counted.passes.backward,
        "ours_cpu_s": round(ours_s, 2), "theirs_cpu_s": round(theirs_s, 2), "overhead": round(v.overhead, 4),
    }  # fmt: skip


def read(path: Path) -> list[dict]:
    return list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []


def table(rows: list[dict]) -> str:
    """Mean over seeds, one line per model, norm and attack, as Markdown."""
    groups = defaultdict(list)
    for row in rows:
        short = row["attack"] in ("square", "standard") and row["queries"] != "5000"
        name = f"{row['attack']}, {row['queries']} queries" if short else row["attack"]
        groups[row["model"], row["norm"], row["eps"], name, row["images"]].append(row)
    lines = [
        "| model | norm | ε | attack | images | seeds | ours | theirs | passes ours / theirs | CPU s ours / theirs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (model, norm, eps, name, images), group in groups.items():
        mean = {k: statistics.mean(float(r[k]) for r in group) for k in COLUMNS[9:17]}
        ours_passes, theirs_passes = (mean[f"{s}_forward"] + mean[f"{s}_backward"] for s in ("ours", "theirs"))
        lines.append(
            f"| {model} | {norm} | {float(eps):.4g} | {name} | {images} | {len(group)} | {mean['ours']:.1f} | "
            f"{mean['theirs']:.1f} | {ours_passes:,.0f} / {theirs_passes:,.0f} ({ours_passes / theirs_passes:.2f}) | "
            f"{mean['ours_cpu_s']:.1f} / {mean['theirs_cpu_s']:.1f} ({mean['ours_cpu_s'] / mean['theirs_cpu_s']:.2f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=victims.NAMES, choices=victims.NAMES)
    parser.add_argument("--norms", nargs="+", default=("linf", "l2"), choices=("linf", "l2"))
    parser.add_argument("--attacks", nargs="+", default=(*PARTS, "standard"))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table(read(options.out)))
        return
    torch.set_num_threads(1)
    done = {(r["model"], r["norm"], r["attack"], r["images"], r["queries"], r["seed"]) for r in read(options.out)}
    models: dict[str, Normalized] = {}
    radii: dict[tuple[str, str], float] = {}
    for seed in options.seeds:
        for name in options.attacks:
            for kind in options.models:
                for norm in options.norms:
                    key = (kind, norm, name, str(options.images), str(options.queries), str(seed))
                    if key in done:
                        continue
                    if kind not in models:
                        models[kind] = victims.trained(kind, ROBUST[kind]).requires_grad_(False)
                    if (kind, norm) not in radii:
                        radii[kind, norm] = victims.calibrated(models[kind], norm)
                    x, y = victims.images(options.images, seed=500 + seed)
                    row = {
                        "model": kind, "robust_model": ROBUST[kind], "norm": norm, "eps": radii[kind, norm],
                        "attack": name, "images": options.images, "queries": options.queries, "seed": seed,
                        "torch": torch.__version__, "machine": f"{platform.machine()} 1 thread",
                    }  # fmt: skip
                    row |= compare(models[kind], x, y, norm, radii[kind, norm], name, seed, options.queries)
                    append(options.out, COLUMNS, [row])
                    print(*(f"{k}={row[k]}" for k in COLUMNS[:19]), flush=True)


if __name__ == "__main__":
    main()

"""APGD-CE and PGD against pyautoattack and torchattacks on a CPU: passes, seconds, and the floor of both.

    python benchmarks/attacks_cpu.py                     # APGD-CE and PGD-100; two minutes
    python benchmarks/attacks_cpu.py --standard          # AutoAttack standard as well; an hour

The model is the small robust CNN of `victims.py` widened until a forward costs what it does in practice relative to the
rest; the radius is the one at which about 40 % of the images stand. The floor is what the standing images alone need,
as a share of the other side's passes. Rows are appended to benchmarks/results/attacks_cpu.csv.
"""

import argparse
import importlib.util
import os
import platform
import time
from pathlib import Path

import torch
import victims
from lines import append
from oracle import Counted

from zsr.attacks import attack
from zsr.attacks.autoattack_reference import _quietly, installed

RESULTS = Path(__file__).parent / "results" / "attacks_cpu.csv"
COLUMNS = (
    "attack", "side", "images", "clean", "standing", "eps", "forward", "backward", "passes_ratio", "floor", "overhead",
    "wall_s", "cpu_s", "wall_ratio", "cpu_ratio", "threads", "torch", "cores", "machine",
)  # fmt: skip


def timed(function) -> tuple[object, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def ours(model, x, y, eps, name, **settings) -> dict:
    v, wall, cpu = timed(lambda: attack(model, x, y, name, eps=eps, batch_size=64, **settings))
    return {"side": "ours", "standing": int(v.robust.sum()), "clean": int((v.clean == y).sum()), "passes": v.passes,
            "wall_s": wall, "cpu_s": cpu, "overhead": v.overhead}  # fmt: skip


def authors(model, x, y, eps, name) -> dict:
    counted = Counted(model).eval()
    theirs = installed().AutoAttack(counted, norm="Linf", eps=eps, seed=0, version="standard", device="cpu")
    theirs.verbose = False
    if name != "autoattack":
        theirs.attacks_to_run = [name]
    x_adv, wall, cpu = timed(lambda: _quietly(theirs, x, y, 64))
    with torch.no_grad():
        standing = int((model(x_adv).argmax(1) == y).sum())
    return {"side": "pyautoattack", "standing": standing, "passes": counted.passes, "wall_s": wall, "cpu_s": cpu}


def torchattacks(model, x, y, eps, steps) -> dict:
    from torchattacks import PGD

    counted = Counted(model).eval()  # torchattacks would put back train mode, and the model with it
    made, wall, cpu = timed(
        lambda: [
            PGD(counted, eps=eps, alpha=eps / 4, steps=steps)(a, b)
            for a, b in zip(x.split(64), y.split(64), strict=True)
        ]
    )
    with torch.no_grad():
        standing = int((model(torch.cat(made)).argmax(1) == y).sum())
    return {"side": "torchattacks", "standing": standing, "passes": counted.passes, "wall_s": wall, "cpu_s": cpu}


def rows(name: str, mine: dict, other: dict, eps: float, steps: int, n: int) -> list[dict]:
    """Both sides, ratios as ours over theirs."""
    spent = [s["passes"].forward + s["passes"].backward for s in (mine, other)]
    floor = mine["standing"] * 2 * steps / spent[1] if name != "autoattack" else ""
    common = {"attack": name, "images": n, "clean": mine["clean"], "eps": eps, "threads": torch.get_num_threads(),
              "torch": torch.__version__, "cores": os.cpu_count(), "machine": platform.machine()}  # fmt: skip
    found = []
    for side in (mine, other):
        row = common | {k: side[k] for k in ("side", "standing")}
        row |= {"forward": side["passes"].forward, "backward": side["passes"].backward,
                "wall_s": round(side["wall_s"], 2), "cpu_s": round(side["cpu_s"], 2)}  # fmt: skip
        if side is mine:
            row |= {
                "passes_ratio": round(spent[0] / spent[1], 3), "floor": round(floor, 3) if floor else "",
                "overhead": round(side["overhead"], 4), "wall_ratio": round(mine["wall_s"] / other["wall_s"], 3),
                "cpu_ratio": round(mine["cpu_s"] / other["cpu_s"], 3),
            }  # fmt: skip
        found.append(row)
    return found


def write(found: list[dict]) -> None:
    append(RESULTS, COLUMNS, found)
    for row in found:
        print(*(f"{k}={row[k]}" for k in COLUMNS[:15] if row.get(k, "") != ""), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--standard", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = victims.trained("cnn", robust=True, width=2).requires_grad_(False)
    x, y = victims.images(options.images, seed=500)
    eps = victims.calibrated(model, "linf")
    attack(model, x[:64], y[:64], "pgd", eps=eps, steps=3)  # warm both up
    authors(model, x[:4], y[:4], eps, "apgd-ce")
    write(rows("apgd-ce", ours(model, x, y, eps, "apgd-ce"), authors(model, x, y, eps, "apgd-ce"), eps, 100, len(x)))
    if importlib.util.find_spec("torchattacks"):
        mine = ours(model, x, y, eps, "pgd", steps=100)
        write(rows("pgd-100", mine, torchattacks(model, x, y, eps, 100), eps, 100, len(x)))
    if options.standard:
        mine, theirs = ours(model, x, y, eps, "autoattack"), authors(model, x, y, eps, "autoattack")
        write(rows("autoattack", mine, theirs, eps, 0, len(x)))


if __name__ == "__main__":
    main()

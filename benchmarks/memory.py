"""Peak memory of PGD on a CLIP tower: ours against torchattacks, each side in a process of its own.

    python benchmarks/memory.py                                   # ViT-B-32, batch 64, on this machine's device
    python benchmarks/memory.py --model ViT-B-32 --batch 256      # on a CPU: about 10 GiB

What is printed is the peak above what the process held before the attack: model, images and libraries are not in it.
On a CPU that is the resident set, on CUDA the allocator's peak. Rows are appended to benchmarks/results/memory.csv.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

import torch
from lines import append

from zsr.attacks import Normalized, attack
from zsr.cost import peak_megabytes

RESULTS = Path(__file__).parent / "results" / "memory.csv"
COLUMNS = ("model", "side", "batch", "steps", "before_MB", "attack_MB", "of_theirs", "device", "torch")
SIDES = ("ours", "torchattacks")


def measure(side: str, model: str, batch: int, steps: int, device: str) -> dict:
    """Run one side; the model and the images are there before."""
    from attacks_gpu import MEAN, STD, ZeroShot

    torch.manual_seed(0)
    net = ZeroShot(model)
    size = net.visual.image_size
    victim = Normalized(net, MEAN, STD).to(device).eval()
    x = torch.rand(batch, 3, *(size if isinstance(size, tuple) else (size, size)), device=device)
    with torch.no_grad():  # what the model says: every image is attacked
        y = torch.cat([victim(part).argmax(1) for part in x.split(8)])
    before = peak_megabytes(device) if device == "cpu" else torch.cuda.memory_allocated() / 2**20
    if side == "ours":
        attack(victim, x, y, "pgd", eps=4 / 255, steps=steps, batch_size=batch, verdict="last")
    else:
        import torchattacks

        torchattacks.PGD(victim, eps=4 / 255, alpha=1 / 255, steps=steps)(x, y)
    return {"before": before, "attack": peak_megabytes(device) - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2, help="memory does not grow with them")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process and print JSON")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.model, options.batch, options.steps, options.device)))
        return
    found = {}
    for side in SIDES:
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        found[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"{platform.machine()} CPU"
    for side, peak in found.items():
        row = {
            "model": options.model, "side": side, "batch": options.batch, "steps": options.steps,
            "before_MB": round(peak["before"]), "attack_MB": round(peak["attack"]),
            "of_theirs": round(peak["attack"] / found["torchattacks"]["attack"], 3), "device": device,
            "torch": torch.__version__,
        }  # fmt: skip
        append(options.out, COLUMNS, [row])
        print(*(f"{key}={value}" for key, value in row.items()))


if __name__ == "__main__":
    main()

"""PGD and AutoAttack on CLIP towers on a GPU: images per second, share of the matmul rate, memory, precision.

    python benchmarks/attacks_gpu.py                                # ViT-B-32, ViT-B-16, ViT-L-14, random weights
    python benchmarks/attacks_gpu.py --models ViT-B-32 --part pgd
    python benchmarks/attacks_gpu.py --device cpu --models ViT-B-32 --images 2 --batch 2 --steps 1    # does it run?

Goals: PGD at half (B/32) and at 60 % (L/14) of the float16 matmul rate measured in the same run; `standard` in an
eighth of pyautoattack's time. Random weights give random verdicts: labels are the clean predictions, and the radius is
chosen so that about 40 % of the images stand. Rows are appended to benchmarks/results/attacks_gpu.csv.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from lines import append
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zsr.attacks import Normalized, attack
from zsr.attacks.arithmetic import arithmetic
from zsr.attacks.autoattack_reference import _quietly, installed

RESULTS = Path(__file__).parent / "results" / "attacks_gpu.csv"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
COLUMNS = (
    "model", "what", "precision", "images", "batch", "steps", "eps", "standing", "seconds", "images_per_s", "tflops",
    "of_matmul", "peak_GiB", "verdicts_changed", "device", "torch",
)  # fmt: skip


class ZeroShot(nn.Module):
    """Normalised images -> 100 cos(f, t) with random class embeddings."""

    def __init__(self, name: str, classes: int = 10):
        super().__init__()
        import open_clip

        self.visual = open_clip.create_model(name, pretrained=None).visual
        self.register_buffer("head", F.normalize(torch.randn(classes, self.visual.output_dim), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return 100.0 * F.normalize(self.visual(x), dim=1) @ self.head.T


def clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def matmul_rate(device: str, precision: str, n: int) -> float:
    """TFLOP/s of an n x n product."""
    a = torch.randn(n, n, device=device, dtype=torch.float16 if precision == "fp16" else torch.float32)
    with arithmetic(torch.device(device), precision):
        for _ in range(3):
            a @ a
        begun = clock(device)
        for _ in range(20):
            a @ a
    return 20 * 2 * n**3 / (clock(device) - begun) / 1e12


def flops_per_pass(model: Normalized, x: Tensor) -> tuple[float, float]:
    """Forward, and gradient with respect to the input alone, per image."""
    net = (x - 0.5).requires_grad_()
    with FlopCounterMode(display=False) as forward:
        out = model.net(net).sum()
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(out, net)
    return forward.get_total_flops() / len(x), backward.get_total_flops() / len(x)


def radius(model: Normalized, x: Tensor, y: Tensor, batch: int) -> float:
    """A radius at which about 40 % of some images stand against ten steps."""
    low, high = 0.0, 8 / 255
    for _ in range(6):
        middle = (low + high) / 2
        v = attack(model, x, y, "pgd", eps=middle, batch_size=batch)
        low, high = (middle, high) if v.robust.float().mean() > 0.4 else (low, middle)
    return high


def peak(device: str) -> float | str:
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if device == "cuda" else ""


def pgd(model: Normalized, x: Tensor, y: Tensor, eps: float, options: argparse.Namespace, common: dict) -> None:
    """Ours in each precision, every image to the last step; then torchattacks where it is installed."""
    device, cuda = options.device, options.device == "cuda"
    forward, backward = flops_per_pass(model, x[:2].float() / 255)
    verdicts = {}
    for precision in ("fp32", "tf32", "fp16") if cuda else ("fp32",):
        rate = matmul_rate(device, precision, 8192 if cuda else 512)
        settings = {"eps": eps, "batch_size": options.batch, "precision": precision, "verdict": "last"}
        attack(model, x[: options.batch], y[: options.batch], "pgd", steps=1, **settings)  # compiles the kernels
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        begun = clock(device)
        v = attack(model, x, y, "pgd", steps=options.steps, keep_images=False, **settings)
        seconds = clock(device) - begun
        verdicts[precision] = v.robust
        done = (v.passes.forward * forward + v.passes.backward * backward) / seconds / 1e12
        row = {"what": "pgd last", "precision": precision, "steps": options.steps, "standing": int(v.robust.sum())}
        row |= {"seconds": round(seconds, 2), "images_per_s": round(len(x) / seconds, 2), "tflops": round(done, 2)}
        row |= {"of_matmul": round(done / rate, 3), "peak_GiB": peak(device)}
        row["verdicts_changed"] = float((v.robust != verdicts["fp32"]).float().mean())
        record(common | row)
    if not importlib.util.find_spec("torchattacks"):
        return
    from torchattacks import PGD

    if cuda:
        torch.cuda.reset_peak_memory_stats()
    theirs = PGD(model, eps=eps, alpha=eps / 4, steps=options.steps)
    begun = clock(device)
    for part, labels in zip(x.split(options.batch), y.split(options.batch), strict=True):
        theirs(part.float() / 255, labels)
    seconds = clock(device) - begun
    row = {"what": "torchattacks pgd", "precision": "fp32", "steps": options.steps, "seconds": round(seconds, 2)}
    record(common | row | {"images_per_s": round(len(x) / seconds, 2), "peak_GiB": peak(device)})


def autoattack(model: Normalized, x: Tensor, y: Tensor, eps: float, options: argparse.Namespace, common: dict) -> None:
    """Version standard: ours in float32 and float16, and the authors' code."""
    for precision in ("fp32", "fp16") if options.device == "cuda" else ("fp32",):
        begun = clock(options.device)
        v = attack(model, x, y, "autoattack", eps=eps, batch_size=options.batch, precision=precision, keep_images=False)
        seconds = clock(options.device) - begun
        row = {"what": "autoattack", "precision": precision, "standing": int(v.robust.sum())}
        record(common | row | {"seconds": round(seconds, 2), "images_per_s": round(len(x) / seconds, 3)})
    theirs = installed().AutoAttack(model, norm="Linf", eps=eps, seed=0, version="standard", device=options.device)
    theirs.verbose = False
    begun = clock(options.device)
    x_adv = _quietly(theirs, x.float() / 255, y, options.batch)
    seconds = clock(options.device) - begun
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in x_adv.split(options.batch)])
    row = {"what": "pyautoattack", "precision": "fp32", "standing": int((predicted == y).sum())}
    record(common | row | {"seconds": round(seconds, 2), "images_per_s": round(len(x) / seconds, 3)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["ViT-B-32", "ViT-B-16", "ViT-L-14"])
    parser.add_argument("--part", choices=["pgd", "autoattack"], default="pgd")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    device = options.device
    for name in options.models:
        torch.manual_seed(0)
        model = Normalized(ZeroShot(name), MEAN, STD).to(device).eval().requires_grad_(False)
        x = torch.randint(0, 256, (options.images, 3, 224, 224), dtype=torch.uint8, device=device)
        with torch.no_grad():
            y = torch.cat([model(part / 255).argmax(1) for part in x.split(options.batch)])
        eps = radius(model, x[: options.batch], y[: options.batch], options.batch)
        common = {"model": name, "images": options.images, "batch": options.batch, "eps": eps}
        common |= {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "torch": torch.__version__}
        (pgd if options.part == "pgd" else autoattack)(model, x, y, eps, options, common)


def record(row: dict) -> None:
    append(RESULTS, COLUMNS, [row])
    print(*(f"{k}={v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()

"""What a GPU would gain by capture and compilation, and two smaller questions (docs/gpu-log.md).

    python benchmarks/step_gpu.py                               # all parts
    python benchmarks/step_gpu.py --part attack --archs b32 --batch 256
    python benchmarks/step_gpu.py --device cpu --archs small --batch 4 --backend eager --rounds 1   # does it run?

`attack`: one PGD step (forward, gradient to the input, `linf_step`) with eager launches of the Triton kernel, of the
    reference, with a compiled network, and as one captured CUDA graph.
`train`: a fine-tuning step of `tecoa` with its inner attack, Triton against reference against compiled network.
`rounds`: FAB's projection on the hyperplane and the L1 projection, when the host asks in every round, in every eighth
    or never whether all rows are done.
`remembered`: features of the frozen tower in batches of another size, as a training remembers them.

`differs` is the largest difference from the first side's outcome: 0 for a graph. Weights are random: time does not
depend on them. Sides take turns, the best of `--rounds` counts. A CPU has no CUDA graph and runs the other sides. Rows
are appended to benchmarks/results/step_gpu.csv.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from gauges import fastest, machine
from lines import append
from torch import Tensor, nn
from train_step import ARCHS, Side, definition

import zsr_kernels
from zsr.attacks import hyperplane
from zsr.models.backbone import build
from zsr_kernels import balls

RESULTS = Path(__file__).with_name("results") / "step_gpu.csv"
COLUMNS = ("part", "arch", "batch", "dtype", "side", "ms", "over_first", "differs", "device", "torch")
EPS = 1 / 255
LOOKS = {"every": lambda k, _: True, "eighth": lambda k, _: k % 8 == 7, "never": lambda k, _: False}
Run = Callable[[], Tensor]  # does the work once, and returns what it comes to


class Attack:
    """PGD from the clean images: the sides of the part `attack`."""

    def __init__(self, arch: str, batch: int, dtype: torch.dtype, options: argparse.Namespace) -> None:
        backbone = build(definition(arch))
        self.visual = backbone.visual.to(options.device, dtype).eval().requires_grad_(False)
        self.dtype, self.steps, self.backend = dtype, options.steps, options.backend
        generator = torch.Generator().manual_seed(0)
        shape = (batch, 3, backbone.image_size, backbone.image_size)
        self.x0 = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(options.device)
        self.labels = torch.randint(0, 100, (batch,), generator=generator).to(options.device)
        self.mean, self.std = (torch.tensor(t, device=options.device) for t in (backbone.mean, backbone.std))
        with torch.no_grad():
            width = self.visual(self.clean()[1]).shape[1]
        self.head = F.normalize(torch.randn(100, width, generator=generator), dim=1).to(options.device, dtype)

    def clean(self) -> tuple[Tensor, Tensor]:
        """Pixels, and the network's input there."""
        x = self.x0.float() / 255
        return x, zsr_kernels.normalize(x, self.mean, self.std, self.dtype)

    def step(self, net: nn.Module, x: Tensor, entering: Tensor, kernels: str = "auto") -> tuple[Tensor, Tensor]:
        """One step from (x, its normalised form)."""
        entering = entering.detach().requires_grad_()
        logits = 100 * F.normalize(net(entering), dim=1) @ self.head.T
        loss = F.cross_entropy(logits.float(), self.labels, reduction="sum")
        (grad,) = torch.autograd.grad(loss, entering)
        return zsr_kernels.linf_step(
            x, self.x0, grad, EPS / 4, EPS, self.mean, self.std, self.dtype, kernels
        )  # fmt: skip

    def launched(self, net: nn.Module, kernels: str = "auto") -> Run:
        """Steps launched one operation at a time."""

        def run() -> Tensor:
            x, entering = self.clean()
            for _ in range(self.steps):
                x, entering = self.step(net, x, entering, kernels)
            return x

        return run

    def captured(self) -> Run:
        """Steps replayed from one CUDA graph, which reads and writes its state in place."""
        x, entering = (t.clone() for t in self.clean())
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # workspaces and compiled kernels exist before the capture
            for _ in range(3):
                self.step(self.visual, x, entering)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            moved, normalised = self.step(self.visual, x, entering)
            x.copy_(moved)
            entering.copy_(normalised)

        def run() -> Tensor:
            for state, fresh in zip((x, entering), self.clean(), strict=True):
                state.copy_(fresh)
            for _ in range(self.steps):
                graph.replay()
            return x.clone()

        return run

    def sides(self) -> dict[str, Run]:
        """By name."""
        found = {
            "triton" if self.x0.is_cuda else "plain": self.launched(self.visual),
            "reference": self.launched(self.visual, "reference"),
            "compiled network": self.launched(torch.compile(self.visual, dynamic=False, backend=self.backend)),
        }
        return found | ({"graph": self.captured()} if self.x0.is_cuda else {})


def attack(options: argparse.Namespace) -> None:
    """Eager, compiled, captured; in float32, and on CUDA in float16."""
    dtypes = (torch.float32, torch.float16) if options.device == "cuda" else (torch.float32,)
    for arch, batch, dtype in itertools.product(options.archs, options.batch, dtypes):
        compare(options, Attack(arch, batch, dtype, options).sides(), options.steps,
                part="attack", arch=arch, batch=batch, dtype=str(dtype)[6:])  # fmt: skip
        torch._dynamo.reset()


def train(options: argparse.Namespace) -> None:
    """A fine-tuning step, each side with a student of its own; what it comes to are the weights after the rounds."""
    for arch, batch in itertools.product(options.archs, options.batch):
        sides: dict[str, Run] = {}
        for label in ("triton" if options.device == "cuda" else "plain", "reference", "compiled network"):
            torch.manual_seed(0)
            side = Side(definition(arch), "tecoa", 100, batch, options.device)
            side.task.kernels = "reference" if label == "reference" else "auto"
            if label == "compiled network":
                side.task.visual = torch.compile(side.visual, dynamic=False, backend=options.backend)
            sides[label] = _updates(side)
        compare(options, sides, 1, part="train", arch=arch, batch=batch, dtype="float32")
        torch._dynamo.reset()


def _updates(side: Side) -> Run:
    def run() -> Tensor:
        side.ours()
        return torch.cat([p.detach().flatten() for p in side.visual.parameters()])

    return run


def rounds(options: argparse.Namespace) -> None:
    """The two projections on images of 3 x 224 x 224, half of which need them."""
    for batch in options.batch:
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(batch, 3, 224, 224, generator=generator).to(options.device)
        w = torch.randn(batch, 3 * 224 * 224, generator=generator).to(options.device)
        need = 20 * torch.rand(batch, generator=generator).to(options.device)
        far = x + 0.1 * w.view_as(x)
        work = {
            "hyperplane": partial(hyperplane.project_onto_hyperplane, x.flatten(1), w, need, "linf"),
            "l1": partial(balls.l1_project, far, x, 12.0),
        }
        for name, project in work.items():
            sides = {f"{name}, {label}": _looking(look, project) for label, look in LOOKS.items()}
            compare(options, sides, 1, part="rounds", arch="", batch=batch, dtype="float32")


def _looking(look: Callable, project: Run) -> Run:
    def run() -> Tensor:
        before, hyperplane.rarely, balls.rarely = balls.rarely, look, look
        try:
            return project()
        finally:
            hyperplane.rarely = balls.rarely = before

    return run


def remembered(options: argparse.Namespace) -> None:
    """Features of 256 images in batches of `--batch` against all at once; `differs` is relative to their length, 1."""
    for arch in options.archs:
        backbone = build(definition(arch))
        visual = backbone.visual.to(options.device).eval().requires_grad_(False)
        generator = torch.Generator().manual_seed(0)
        side = backbone.image_size
        images = torch.rand(256, 3, side, side, generator=generator).to(options.device)
        sides = {f"batches of {size}": _features(visual, images, size) for size in (256, *options.batch)}
        compare(options, sides, 1, part="remembered", arch=arch, batch=256, dtype="float32")


def _features(visual: nn.Module, images: Tensor, size: int) -> Run:
    def run() -> Tensor:
        with torch.no_grad():
            return torch.cat([F.normalize(visual(part), dim=1) for part in images.split(size)])

    return run


def compare(options: argparse.Namespace, sides: dict[str, Run], steps: int, **about: object) -> None:
    """Time the sides in turn, and write a row for each."""
    results = {label: run() for label, run in sides.items()}  # warms up, and compiles
    first = next(iter(results))
    best = fastest(sides, options.rounds, options.device)
    for label, took in best.items():
        row = about | {
            "side": label, "ms": f"{1000 * took / steps:.4g}", "over_first": f"{took / best[first]:.3f}",
            "differs": f"{float((results[label] - results[first]).abs().max()):.2g}",
            "device": machine(options.device), "torch": torch.__version__,
        }  # fmt: skip
        append(RESULTS, COLUMNS, [row])
        print(*(f"{key}={row[key]}" for key in COLUMNS[:-2]), flush=True)


def main() -> None:
    parts = {"attack": attack, "train": train, "rounds": rounds, "remembered": remembered}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", default=list(parts), choices=tuple(parts))
    parser.add_argument("--archs", nargs="+", default=list(ARCHS), choices=tuple(ARCHS))
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 64, 256])
    parser.add_argument("--backend", default="inductor", help="of torch.compile; a CPU takes minutes for `inductor`")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for part in options.part:
        parts[part](options)


if __name__ == "__main__":
    main()

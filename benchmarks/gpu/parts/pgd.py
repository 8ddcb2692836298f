"""PGD-20 on CLIP's towers: the engine as it is, and what a half-precision copy, a CUDA graph or a compiler would gain.

`image-steps/s` is images × steps over seconds. In `engine` the clean look and the verdict, float32 both, are in the
time; `engine …, a step` is the difference of 40 and 20 steps: the pass alone. The other sides launch the same step by
hand (forward, gradient to the input, `linf_step`), without an engine around it.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zsr_kernels
from gpu import towers
from gpu.bench import Bench, middle
from gpu.rates import matmul_rate
from gpu.towers import check_attacked, flops
from zsr.attacks import attack

STEPS = 20
# tower -> images, batch of the engine, smaller batches of the hand-launched step
CASES = {"B/32": (512, 256, (32,)), "L/14": (64, 64, (16,))}
PRECISIONS = {"fp32": 0, "tf32": 1, "fp16": 3}  # rounds of the engine after its first; fp32 takes too long for one


def run(bench: Bench) -> None:
    precisions = tuple(PRECISIONS) if bench.cuda else ("fp32",)
    for name, (count, batch, smaller) in CASES.items():
        label = f"{name}, batch {batch}"
        with bench.case(label, *(f"engine {p}" for p in precisions), seconds=40 if name == "L/14" else 20) as wanted:
            if wanted:
                engine(bench, label, name, count, batch, precisions)
        for size in (batch, *smaller):
            label = f"{name}, batch {size}, by hand"
            with bench.case(label, "eager", *(("graph",) if bench.cuda else ()), seconds=10) as wanted:
                if wanted:
                    by_hand(bench, label, name, size)
    with bench.case("B/32, batch 256, by hand", "compiled", seconds=60) as wanted:  # last: compiling takes a minute
        if wanted:
            step = Step("B/32", 256, bench)
            net = torch.compile(step.net, dynamic=False, backend="inductor" if bench.cuda else "eager")
            measure(bench, "B/32, batch 256, by hand", step, {"compiled": step.launched(net)})


def engine(bench: Bench, label: str, name: str, count: int, batch: int, precisions: tuple[str, ...]) -> None:
    """Every image to its last step, in each precision; verdicts that are not float32's."""
    name, count, batch = bench.size((name, count, batch), ("tiny", 8, 4))
    model = towers.victim(name, bench.device)
    x = towers.images(name, count, bench.device)
    y = towers.predictions(model, x, batch)
    eps = towers.radius(model, x[:batch], y[:batch], precisions[-1])
    work = flops(model, x[:2])
    robust: dict[str, Tensor] = {}
    for precision in precisions:
        settings = {"eps": eps, "batch_size": batch, "precision": precision, "verdict": "last", "keep_images": False}
        pgd = partial(attack, model, x, y, "pgd", index=torch.arange(count), **settings)
        pgd(steps=1)  # compiles the kernels
        took, verdicts = bench.once(partial(pgd, steps=STEPS))
        check_attacked(verdicts, STEPS)
        robust[precision] = verdicts.robust
        lengths = {steps: partial(pgd, steps=steps) for steps in (STEPS, 2 * STEPS)}
        times = bench.turns(lengths, PRECISIONS[precision]) if PRECISIONS[precision] else {STEPS: [1000 * took]}
        whole, side = middle(times[STEPS]), f"engine {precision}"
        rate = matmul_rate(bench, precision)
        standing = f"ε = {eps:.2g}, {int(verdicts.robust.sum())} of {count} stand"
        bench.row(label, side, count * STEPS / whole * 1e3, "image-steps/s", times[STEPS], note=standing)
        done = verdicts.passes.forward * work.forward + verdicts.passes.backward * work.backward
        bench.row(label, side, done / whole * 1e3 / rate, "of the matmul rate")
        if 2 * STEPS in times:
            passes = max(middle(times[2 * STEPS]) - whole, 1e-6)
            bench.row(label, f"{side}, a step", count * STEPS / passes * 1e3, "image-steps/s")
            share = count * STEPS * sum(work) / passes * 1e3 / rate
            bench.row(label, f"{side}, a step", share, "of the matmul rate")
        if precision != "fp32":
            changed = float((verdicts.robust != robust["fp32"]).float().mean())
            bench.row(label, side, changed, "verdicts changed")


class Step:
    """One PGD step by hand, with weights in half precision on a GPU."""

    def __init__(self, name: str, batch: int, bench: Bench) -> None:
        name, batch = bench.size((name, batch), ("tiny", 2))
        model = towers.victim(name, bench.device, classes=100)
        self.x0 = towers.images(name, batch, bench.device)
        self.labels = torch.randint(0, 100, (batch,), generator=torch.Generator().manual_seed(0)).to(bench.device)
        self.flops = batch * sum(flops(model, self.x0[:2]))
        self.dtype = torch.float16 if bench.cuda else torch.float32
        self.net, self.mean, self.std = model.net.to(self.dtype), model.mean, model.std

    def clean(self) -> tuple[Tensor, Tensor]:
        """Pixels, and the network's input there."""
        x = self.x0.float() / 255
        return x, zsr_kernels.normalize(x, self.mean, self.std, self.dtype)

    def step(self, net: Callable[[Tensor], Tensor], x: Tensor, entering: Tensor) -> tuple[Tensor, Tensor]:
        """From (x, its normalised form) to the next."""
        entering = entering.detach().requires_grad_()
        loss = F.cross_entropy(net(entering).float(), self.labels, reduction="sum")
        (grad,) = torch.autograd.grad(loss, entering)
        return zsr_kernels.linf_step(x, self.x0, grad, 0.25 / 255, 1 / 255, self.mean, self.std, self.dtype)

    def launched(self, net: nn.Module | Callable) -> Callable[[], Tensor]:
        """Steps launched one operation at a time."""

        def run() -> Tensor:
            x, entering = self.clean()
            for _ in range(STEPS):
                x, entering = self.step(net, x, entering)
            return x

        return run

    def captured(self) -> Callable[[], Tensor]:
        """Steps replayed from one CUDA graph, which reads and writes its state in place."""
        x, entering = (t.clone() for t in self.clean())
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # workspaces and compiled kernels exist before the capture
            for _ in range(3):
                self.step(self.net, x, entering)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            moved, normalised = self.step(self.net, x, entering)
            x.copy_(moved)
            entering.copy_(normalised)

        def run() -> Tensor:
            for state, fresh in zip((x, entering), self.clean(), strict=True):
                state.copy_(fresh)
            for _ in range(STEPS):
                graph.replay()
            return x.clone()

        return run


def by_hand(bench: Bench, label: str, name: str, batch: int) -> None:
    """Eager launches, and on a GPU the same as a graph: equal pixels?"""
    step = Step(name, batch, bench)
    sides = {"eager": step.launched(step.net)}
    if bench.cuda:
        sides["graph"] = step.captured()
        pixels = {side: run() for side, run in sides.items()}
        differ = int((pixels["graph"] != pixels["eager"]).sum())
        bench.row(label, "graph", differ, "pixels that differ")
    measure(bench, label, step, sides)


def measure(bench: Bench, label: str, step: Step, sides: dict[str, Callable[[], Tensor]]) -> None:
    """Rates of some sides."""
    for run in sides.values():
        run()  # warms up, and compiles
    rate = matmul_rate(bench, "fp16" if bench.cuda else "fp32")
    for side, times in bench.turns(sides, 3 if step.flops > 10e12 else 7).items():  # L/14: a second each
        seconds = middle(times) / STEPS / 1e3
        bench.row(label, side, len(step.labels) / seconds, "image-steps/s", times)
        bench.row(label, side, step.flops / seconds / rate, "of the matmul rate")

"""PGD-20 on CLIP's towers: the engine as it is, and what half-precision weights, a CUDA graph or a compiler would gain.

`image-steps/s` is images × steps over seconds. `engine` includes the clean forward and the final check, both in
float32; `engine …, a step` is the time of 40 steps minus that of 20: the steps alone. The other sides launch the same
step by hand (forward, gradient to the input, `linf_step`), without the engine's bookkeeping.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

import zsr_kernels
from gpu import towers
from gpu.bench import Bench, per_second
from gpu.ceilings import matmul_ceiling
from gpu.rows import CHANGED, DIFFERENT, RATE, SHARE
from zsr.attacks import attack
from zsr_kernels import reference

STEPS = 20
# tower -> images, batch of the engine, a smaller batch of the hand-launched step
CASES = {"B/32": (512, 256, 32), "L/14": (64, 64, 16)}
PRECISIONS = {"fp32": 0, "tf32": 1, "fp16": 3}  # rounds of the engine after its first; fp32 takes too long for one


def run(bench: Bench) -> None:
    for name, (count, batch, small) in CASES.items():
        label = f"{name}, batch {batch}"
        bench.case(label, partial(engine, bench, label, name, count, batch), seconds=35 if name == "L/14" else 20)
        for size in (batch, small):
            label = f"{name}, batch {size}, by hand"
            bench.case(label, partial(by_hand, bench, label, name, size), seconds=10)
    label = "B/32, batch 256, by hand, compiled"
    bench.case(label, partial(compiled, bench, label), seconds=60)  # last: compiling takes a minute


def engine(bench: Bench, label: str, name: str, count: int, batch: int) -> None:
    """Every image to its last step, in each precision; and verdicts that differ from float32's."""
    name, count, batch = bench.size((name, count, batch), ("tiny", 8, 4))
    precisions = tuple(PRECISIONS) if bench.cuda else ("fp32",)
    model, x = towers.victim(name, bench.device), towers.images(name, count, bench.device)
    y = towers.predictions(model, x, batch)
    eps = towers.radius(model, x[:batch], y[:batch], precisions[-1])
    work = towers.flops(model, x[:2])
    robust: dict[str, Tensor] = {}
    for precision in precisions:
        settings = {"eps": eps, "batch_size": batch, "precision": precision, "verdict": "last", "keep_images": False}
        pgd = partial(attack, model, x, y, "pgd", index=torch.arange(count), **settings)
        pgd(steps=1)  # compiles the kernels
        took, verdicts = bench.time_once(partial(pgd, steps=STEPS))
        towers.check_attacked(verdicts, STEPS)
        robust[precision] = verdicts.robust
        lengths = {steps: partial(pgd, steps=steps) for steps in (STEPS, 2 * STEPS)}
        rounds = PRECISIONS[precision]
        times = bench.time_in_turns(lengths, rounds) if rounds else {STEPS: [1000 * took]}
        side, ceiling, short = f"engine {precision}", matmul_ceiling(bench, precision).rate, times[STEPS]
        bench.row(label, side, per_second(count * STEPS, short), RATE, short, note=towers.outcome(verdicts, eps))
        done = verdicts.passes.forward * work.forward + verdicts.passes.backward * work.backward
        bench.row(label, side, per_second(done, short) / ceiling, SHARE)
        if rounds:
            steps_alone = [max(median(times[2 * STEPS]) - median(short), 1e-3)]
            bench.row(label, f"{side}, a step", per_second(count * STEPS, steps_alone), RATE)
            bench.row(label, f"{side}, a step", per_second(count * STEPS * sum(work), steps_alone) / ceiling, SHARE)
        if precision != "fp32":
            changed = float((verdicts.robust != robust["fp32"]).float().mean())
            bench.row(label, side, changed, CHANGED)


class Step:
    """One PGD step by hand, with weights in half precision on a GPU."""

    def __init__(self, name: str, batch: int, bench: Bench) -> None:
        name, batch = bench.size((name, batch), ("tiny", 2))
        model = towers.victim(name, bench.device, classes=100)
        self.x0 = towers.images(name, batch, bench.device)
        self.labels = torch.randint(0, 100, (batch,), generator=torch.Generator().manual_seed(0)).to(bench.device)
        self.flops = batch * sum(towers.flops(model, self.x0[:2]))
        dtype = torch.float16 if bench.cuda else torch.float32
        self.net = model.net.to(dtype)
        self.normalisation = zsr_kernels.Normalisation(model.mean, model.std, dtype)

    def clean(self) -> tuple[Tensor, Tensor]:
        """Pixels, and the network's input there."""
        x = reference.pixels(self.x0)
        return x, zsr_kernels.normalize(x, self.normalisation)

    def step(self, net: Callable[[Tensor], Tensor], x: Tensor, entering: Tensor) -> tuple[Tensor, Tensor]:
        """From (x, its normalised form) to the next."""
        entering = entering.detach().requires_grad_()
        loss = F.cross_entropy(net(entering).float(), self.labels, reduction="sum")
        (grad,) = torch.autograd.grad(loss, entering)
        return zsr_kernels.linf_step(x, self.x0, grad, 0.25 / 255, 1 / 255, self.normalisation)

    def launched(self, net: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
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
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):  # workspaces and compiled kernels exist before the capture
            for _ in range(3):
                self.step(self.net, x, entering)
        torch.cuda.current_stream().wait_stream(side_stream)
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
    """Eager launches, and on a GPU a graph of the same: are the pixels equal?"""
    step = Step(name, batch, bench)
    sides = {"eager": step.launched(step.net)}
    if bench.cuda:
        sides["graph"] = step.captured()
        pixels = {side: run() for side, run in sides.items()}
        bench.row(label, "graph", int((pixels["graph"] != pixels["eager"]).sum()), DIFFERENT)
    time_steps(bench, label, step, sides)


def compiled(bench: Bench, label: str) -> None:
    """The compiled tower, beside the eager one."""
    step = Step("B/32", 256, bench)
    net = torch.compile(step.net, dynamic=False, backend="inductor" if bench.cuda else "eager")
    time_steps(bench, label, step, {"eager": step.launched(step.net), "compiled": step.launched(net)})


def time_steps(bench: Bench, label: str, step: Step, sides: dict[str, Callable[[], Tensor]]) -> None:
    """Rates of some sides."""
    for run in sides.values():
        run()  # warms up, and compiles
    ceiling = matmul_ceiling(bench, "fp16" if bench.cuda else "fp32").rate
    rounds = 3 if step.flops > 10e12 else 7  # a side of L/14 takes a second
    for side, times in bench.time_in_turns(sides, rounds).items():
        bench.row(label, side, per_second(len(step.labels) * STEPS, times), RATE, times)
        bench.row(label, side, per_second(step.flops * STEPS, times) / ceiling, SHARE)

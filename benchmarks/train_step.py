"""One fine-tuning step: ours, the papers' formulation of the same loss, and the floor of its passes; time and memory.

`papers`: the formulation of the released scripts, with the same loss, images and number of attack steps. All class
prompts go through the text tower in every attack step and in the update, and every backward computes the gradients of
all parameters of both towers, thrown away but for the student's in the update.
`reference`: ours without Triton, on a GPU.
`floor`: the towers' passes of our step and the optimiser alone, with a vector of ones for a loss: K forwards and
gradients to the input, the student's forwards and backwards, the original's forwards.

    python benchmarks/train_step.py                             # CPU: the embedded ViT, batch 100
    python benchmarks/on_gpu.py --only train                    # ViT-B/32 at 224 x 224 on a GPU, under autocast
    python benchmarks/train_step.py --table                     # what was measured, for docs/performance.md

Weights are fresh: time does not depend on them. The variants alternate, and the fastest of `--rounds` is reported:
processor time of one thread, which a busy machine disturbs least. Peak memory is what a step adds to the models.
"""

import argparse
import csv
import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from gauges import fastest, peak, processor
from gpu import towers
from lines import append
from torch import Tensor

from zsr import registry
from zsr.attacks.core.training_attack import Perturbed
from zsr.data.drawing import scene
from zsr.methods.core.base import Method
from zsr.methods.core.task import Batch, Task
from zsr.models.backbone import Backbone, build
from zsr.models.word_tokenizer import vocabulary
from zsr.training.fine_tune import ATTACK_SCALE, autocast

RESULTS = Path(__file__).with_name("results") / "train_step.csv"
COLUMNS = ("machine", "device", "arch", "batch", "method", "classes", "side", "ms", "over_ours", "peak_mb", "torch")
ARCHS = {"small": "drawn-vit", "b32": "b32"}
B32 = {
    "embed_dim": towers.CLIP["B/32"][0], "logit_scale": 100.0, "mean": towers.MEAN, "std": towers.STD,
    "tokenizer": "words", "quick_gelu": True,
    "vision_cfg": towers.CLIP["B/32"][1],
    "text_cfg": {"context_length": 77, "vocab_size": len(vocabulary()), "width": 512, "heads": 8, "layers": 12},
}  # fmt: skip
# method -> (student forwards with a backward, forwards of the original) beside the attack
METHODS = {"tecoa": (1, 0), "pmg-aft": (2, 1), "tga-zsr": (2, 1), "caw": (1, 2), "fare": (1, 1)}
CLASSES = (10, 200, 1000)
STEPS = 2  # of the attack


def prompts(count: int) -> list[str]:
    """So many different sentences of the vocabulary."""
    words = itertools.product(scene.COUNT, scene.TEXTURE, scene.COLOUR, scene.SHAPE)
    return [" ".join(["a photo of", *chosen]) for chosen in itertools.islice(words, count)]


def definition(arch: str) -> dict:
    """What `build` takes."""
    return B32 if arch == "b32" else towers.definition(ARCHS[arch])


class StepVariants:
    """A student with its optimiser, and its step in each formulation. `amp`: under float16 autocast, as the scripts."""

    def __init__(self, backbone: Backbone, name: str, classes: int, batch: int, device: str, amp: str = "off") -> None:
        backbone.clip.to(device).eval().requires_grad_(False)
        self.backbone, self.sentences, self.device, self.amp = backbone, prompts(classes), device, amp
        self.visual = backbone.visual.requires_grad_(True)
        with torch.no_grad():
            head = self.texts()
        self.task = Task(
            self.visual, backbone.mean, backbone.std, head, 100.0, 4 / 255, STEPS, 1.0, seed=0,
            attack_scale=ATTACK_SCALE if amp == "fp16" else 1.0,
        )  # fmt: skip
        self.method: Method = registry.load("methods", name)()
        self.passes = METHODS[name]
        self.optimizer = torch.optim.SGD(self.visual.parameters(), 1e-5, momentum=0.9)
        generator = torch.Generator().manual_seed(0)
        side = backbone.image_size
        images = torch.rand(batch, 3, side, side, generator=generator).to(device)
        labels = torch.randint(0, classes, (batch,), generator=generator).to(device)
        self.batch = Batch(images, labels, torch.arange(batch, device=device), 0)
        self.method.check(self.task)
        self.visual.train()

    def texts(self) -> Tensor:
        """The class embeddings, through the text tower; with graph if its parameters ask for one."""
        return F.normalize(self.backbone.encode_text(self.sentences), dim=1)

    def ours(self) -> None:
        """As `zsr.training.fine_tune` does it."""
        self.update(self.method)

    def reference(self) -> None:
        """The same without Triton."""
        before, self.task.kernels = self.task.kernels, "reference"
        self.update(self.method)
        self.task.kernels = before

    def papers(self) -> None:
        """As the released scripts do it."""
        head, clip = self.task.head, self.backbone.clip
        clip.requires_grad_(True)
        try:
            self.update(wasteful(self.method, self.texts))
        finally:
            clip.zero_grad(set_to_none=True)
            clip.requires_grad_(False)
            self.visual.requires_grad_(True)
            self.task.head = head

    def update(self, method: Method) -> None:
        """Loss, backward, optimiser."""
        with autocast(self.amp, self.device):
            loss, _ = method.loss(self.task, self.batch)
        loss.item()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def floor(self) -> None:
        """The same passes with nothing around them."""
        x = self.task.normalise(self.batch.images)
        self.visual.eval()
        for _ in range(STEPS):
            x = x.detach().requires_grad_()
            features = self.forward(x)
            torch.autograd.grad(features, x, torch.ones_like(features))
        self.visual.train()
        x = x.detach()
        students, originals = self.passes
        with torch.no_grad():
            for _ in range(originals):
                self.forward(x, self.task.frozen)
        features = [self.forward(x) for _ in range(students)]
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(features, [torch.ones_like(one) for one in features])
        self.optimizer.step()

    def forward(self, x: Tensor, tower: torch.nn.Module | None = None) -> Tensor:
        """Features of the student, or of another tower."""
        with autocast(self.amp, self.device):
            return (tower or self.visual)(x)


def wasteful(method: Method, texts: Callable[[], Tensor]) -> Method:
    """The method with an attack whose backward reaches the parameters, and class embeddings made anew in every pass."""

    class Wasteful(type(method)):
        def attack(self, task: Task, batch: Batch, objective: Callable | None = None) -> Perturbed:
            task.visual.eval()
            objective = objective or self.objective(task, batch)
            delta = torch.empty_like(batch.images).uniform_(-task.eps, task.eps)
            for _ in range(task.attack_steps):
                delta.requires_grad_(True)
                task.head = texts()
                losses = objective(task.visual(task.normalise(batch.images + delta)))
                losses.mean().backward()
                moved = (delta.detach() + task.attack_alpha * task.eps * delta.grad.sign()).clamp(-task.eps, task.eps)
                delta = ((batch.images + moved).clamp(0, 1) - batch.images).detach()
            task.visual.zero_grad()
            task.visual.train()
            task.head = texts()  # for the loss that follows
            x = batch.images + delta
            return Perturbed(x, task.normalise(x))

    return Wasteful(**{field.name: getattr(method, field.name) for field in dataclasses.fields(method)})


def measure(arch: str, name: str, classes: int, batch: int, rounds: int) -> list[dict]:
    """One row for each variant."""
    variants = StepVariants(build(definition(arch)), name, classes, batch, "cpu")
    assert variants.task.frozen is not variants.visual  # made before memory is measured
    steps = {"ours": variants.ours, "papers": variants.papers, "floor": variants.floor}
    grown = {label: peak(step, "cpu") for label, step in steps.items()}
    fastest(steps, 1)  # warms up
    best = fastest(steps, rounds)
    common = {"machine": f"{processor()}, one thread", "device": "cpu", "arch": arch, "batch": batch, "method": name,
              "classes": classes, "torch": torch.__version__}  # fmt: skip
    return [
        common | {"side": label, "ms": round(1000 * took, 2), "over_ours": round(took / best["ours"], 3),
                  "peak_mb": round(grown[label], 1)}
        for label, took in best.items()
    ]  # fmt: skip


def table() -> str:
    """Ours over the floor, the papers' over ours, and memory, as Markdown."""
    with RESULTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = ("machine", "arch", "batch", "method", "classes")
    titles = (*keys, "ms ours", "ours / floor", "papers / ours", "MB ours", "MB papers")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    found: dict[tuple, dict[str, dict]] = {}
    for row in rows:  # a later measurement of the same takes the place of an earlier
        found.setdefault(tuple(row[key] for key in keys), {})[row["side"]] = row
    for key, by in found.items():
        ours = by["ours"]
        lines.append(
            f"| {' | '.join(key)} | {float(ours['ms']):.0f} | {1 / float(by['floor']['over_ours']):.3f} | "
            f"{float(by['papers']['over_ours']):.2f} | {float(ours['peak_mb']):.0f} | "
            f"{float(by['papers']['peak_mb']):.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="small", choices=tuple(ARCHS))
    parser.add_argument("--batch", type=int, nargs="+", default=[100])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=tuple(METHODS))
    parser.add_argument("--classes", type=int, nargs="+", default=list(CLASSES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table())
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for batch, name, classes in itertools.product(options.batch, options.methods, options.classes):
        rows = measure(options.arch, name, classes, batch, options.rounds)
        append(RESULTS, COLUMNS, rows)
        for row in rows:
            print(*(f"{key}={row[key]}" for key in COLUMNS[3:-1]), flush=True)


if __name__ == "__main__":
    main()

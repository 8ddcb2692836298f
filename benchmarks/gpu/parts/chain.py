"""The embedded benchmark's chain on the card: pretrained, fine-tuned with AMP, attacked; killed, and short of memory.

The backbones are trained on the spot, shorter than the workflow does it: enough that images stand and fall.

    python -m gpu.parts.chain FOLDER DEVICE TINY [STEP]    # the fine-tuning that is killed and goes on; for `resumed`
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpu.bench import Bench
from zsr import evaluate, registry
from zsr.attacks import Normalized, Verdicts, attack
from zsr.checkpoint import Checkpoint
from zsr.data.readers.base import Chunk
from zsr.models.backbone import Backbone, build
from zsr.pretrain import Pretraining, PretrainRecipe
from zsr.prompts import class_embeddings
from zsr.recipe import Recipe
from zsr.source import Source
from zsr.task import Task
from zsr.train import fine_tune, trained_tensors

TRAIN_EPS, EPS = 4 / 255, 2 / 255  # the second: between a third and a half of the images stand
# what is drawn, and for how long is trained: (captioned, source, test images; pretraining, fine-tuning steps)
FULL, TINY = (8000, 3000, 1000, 500, 100), (256, 120, 40, 4, 4)
SHORT = {"steps": 10, "targets": 3, "queries": 100}  # AutoAttack, for a CPU to follow in seconds


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as folder:
        student = cache(lambda name: train(bench, name, Path(folder) / name))  # by whichever case comes first
        for name in ("drawn-vit", "drawn-rn"):
            with bench.case(f"{name}, TeCoA", "pretrained", "trained", seconds=15) as wanted:
                if wanted:
                    student(name)
            verdicts(bench, name, student)
        less_memory(bench, "drawn-vit", student)
        cell_times(bench, "drawn-vit", student)
        resumed(bench, "drawn-vit", student)


# -- data, training ---------------------------------------------------------------------------------------------------


def drawn(name: str, split: str, count: int) -> tuple[Chunk, dict]:
    """The first images of a split of a drawn set, and the set's definition."""
    about = yaml.safe_load((registry.PACKAGE / "data" / "sets" / f"{name}.yaml").read_text())
    chunks, parts, n = registry.load("data/readers", about["reader"])(**about["options"]).read(split), [], 0
    while n < count:
        parts.append(next(chunks))
        n += len(parts[-1].labels)
    told = None if parts[0].captions is None else [caption for part in parts for caption in part.captions][:count]
    images, labels = (np.concatenate([getattr(p, field) for p in parts])[:count] for field in ("images", "labels"))
    return Chunk(images, labels.astype(np.int64), told), about


def pretrained(name: str, captioned: int, steps: int, device: str) -> Backbone:
    """A backbone after a short pretraining on the device."""
    arch = yaml.safe_load((registry.PACKAGE / "models" / "archs" / f"{name}.yaml").read_text())
    chunk, _ = drawn("drawn-captions", "train", captioned)
    recipe = PretrainRecipe(steps=steps, batch=128, warmup=min(50, steps // 2))
    training = Pretraining(build(arch), chunk.images, chunk.captions, recipe, 0, device)
    for _ in training:
        pass
    return training.finish()


def task_of(backbone: Backbone, device: str) -> Task:
    """The source task, and its class embeddings."""
    _, about = drawn("drawn-source", "train", 1)
    head = class_embeddings(backbone, about["classes"], about["templates"]).to(device)
    scale = backbone.logit_scale
    return Task(backbone.visual.to(device), backbone.mean, backbone.std, head, scale, TRAIN_EPS, 2, 1.0, seed=0)


def tecoa(task: Task, count: int, steps: int, device: str, checkpoint: Checkpoint, log: Callable[[dict], None]) -> None:
    """TeCoA with AMP, by the workflow's own loop."""
    chunk, _ = drawn("drawn-source", "train", count)
    batch = min(100, count)
    recipe = Recipe(epochs=steps * batch / count, batch=batch, optimizer="adamw", lr=1e-3, warmup=10, amp="fp16")
    method = registry.load("methods", "tecoa")()
    source = Source(chunk.images, chunk.labels)
    fine_tune(method, task, source, recipe, device=device, checkpoint=checkpoint, log=log)


class Student:
    """A fine-tuned model as it is attacked, and the images that it is attacked on."""

    def __init__(self, backbone: Backbone, task: Task, count: int, folder: Path) -> None:
        self.folder = folder  # with the backbone's weights and the student's
        self.model = Normalized(evaluate.ZeroShot(task.visual, task.head, task.scale), backbone.mean, backbone.std)
        self.model.eval().requires_grad_(False)
        chunk, _ = drawn("drawn-source", "test", count)
        self.x, self.y = torch.from_numpy(chunk.images), torch.from_numpy(chunk.labels)

    def attacked(self, device: str, name: str, precision: str = "fp32", count: int | None = None, **more) -> Verdicts:
        """Verdicts on one device, the same images and random numbers on each."""
        x, y = self.x[:count], self.y[:count]
        settings = {"eps": EPS, "batch_size": 500, "index": torch.arange(len(x)), "precision": precision} | more
        return attack(self.model.to(device), x, y, name, **settings)


def train(bench: Bench, name: str, folder: Path) -> Student:
    """Pretrain and fine-tune; the weights stay in `folder`, for the training that is killed."""
    label, device = f"{name}, TeCoA", bench.device
    captioned, count, test, pretraining, steps = bench.size(FULL, TINY)
    begun = time.monotonic()
    backbone = pretrained(name, captioned, pretraining, device)
    bench.row(label, "pretrained", pretraining / (time.monotonic() - begun), "steps/s")
    folder.mkdir()
    state = {key: value.cpu().contiguous() for key, value in backbone.clip.state_dict().items()}
    save_file(state, folder / "backbone.safetensors")
    log: list[dict] = []
    task = task_of(backbone, device)
    begun = time.monotonic()
    tecoa(task, count, steps, device, Checkpoint(folder / "none.ckpt", label), log.append)
    bench.row(label, "trained", steps / (time.monotonic() - begun), "steps/s")
    bench.row(label, "trained", sum(not np.isfinite(row["grad_norm"]) for row in log), "steps skipped by the scaler")
    bench.row(label, "trained", log[-1]["loss"] / log[0]["loss"], "of its first loss")
    save_file(trained_tensors(task.visual, task.original), folder / "whole.safetensors")
    return Student(backbone, task, test, folder)


# -- verdicts ---------------------------------------------------------------------------------------------------------


def verdicts(bench: Bench, name: str, student: Callable[[str], Student]) -> None:
    """The same attacks on the card and on the CPU: how many images change sides?"""
    attacks = {"pgd": (None, {"steps": 20}), "autoattack": (200, SHORT)}
    for attacked, (count, settings) in attacks.items():
        label = f"{name}, {attacked} against the CPU"
        precisions = ("fp32", "tf32", "fp16") if bench.cuda else ("fp32",)
        with bench.case(label, *precisions, seconds=5) as wanted:
            if wanted:
                count, settings = bench.size((count, settings), (10, {name: 3 for name in settings}))
                there = student(name).attacked("cpu", attacked, count=count, **settings)
                for precision in precisions:
                    here = student(name).attacked(bench.device, attacked, precision, count, **settings)
                    changed = float((here.robust.cpu() != there.robust).float().mean())
                    right = f"{int(there.robust.sum())} of {len(there.robust)} stand on the CPU"
                    bench.row(label, precision, changed, "verdicts changed", note=right)


def less_memory(bench: Bench, name: str, student: Callable[[str], Student]) -> None:
    """The card's allocator is given too little for the batch: smaller parts, the same verdicts."""
    label = f"{name}, too little memory"
    with bench.case(label, "halved", seconds=5) as wanted:
        if not wanted:
            return
        if not bench.cuda:  # a CPU has no allocator that can be told a limit; tests/test_attacks_memory.py raises
            bench.row(label, "halved", None, "verdicts changed", note="not run: needs a GPU's allocator")
            return
        model = student(name)
        settings = {"steps": 5, "batch_size": len(model.x)}
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        whole = model.attacked(bench.device, "pgd", **settings)
        grown = torch.cuda.max_memory_allocated() - before
        with at_most(before + 0.4 * grown):
            cut = model.attacked(bench.device, "pgd", **settings)
        notes = [note for note in cut.notes if "out of memory" in note]
        if not notes:
            raise RuntimeError("the allocator was not short of memory: nothing was tried")
        changed = float((whole.robust != cut.robust).float().mean())
        bench.row(label, "halved", changed, "verdicts changed", note=notes[0])


@contextlib.contextmanager
def at_most(size: float) -> Iterator[None]:
    """Let the allocator have so many bytes."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def cell_times(bench: Bench, name: str, student: Callable[[str], Student]) -> None:
    """A cell of the default config (PGD-20, 200 images) on the device and on one thread of the CPU: its work, and how
    long a new process takes until it attacks."""
    label, count = f"{name}, a cell of the default config", bench.size(200, 20)
    with bench.case(label, "device", "one CPU thread", seconds=25) as wanted:
        if wanted:
            model, threads = student(name), torch.get_num_threads()
            for side, device in {"device": bench.device, "one CPU thread": "cpu"}.items():
                torch.set_num_threads(1 if side == "one CPU thread" else threads)
                model.attacked(device, "pgd", count=count, steps=2)
                took, _ = bench.once(partial(model.attacked, device, "pgd", count=count, steps=20))
                bench.row(label, side, took, "s of work")
                took, _ = bench.once(partial(subprocess.run, [sys.executable, "-c", FIRST_ATTACK, device], check=True))
                bench.row(label, side, took, "s from start to end of a first attack")
            torch.set_num_threads(threads)


# what a cell's process does before its own work, in little
FIRST_ATTACK = """
import sys
from gpu import towers
from zsr.attacks import attack
model, x = towers.drawn("drawn-vit", sys.argv[1]), towers.images("tiny", 4, "cpu")
attack(model, x, model(x.to(model.mean.device) / 255).argmax(1).cpu(), "pgd", eps=0.01, steps=2)
"""


# -- a kill -----------------------------------------------------------------------------------------------------------


def resumed(bench: Bench, name: str, student: Callable[[str], Student]) -> None:
    """The same fine-tuning twice more: once killed on its way and started again, once whole."""
    label = f"{name}, killed and resumed"
    steps = bench.size(FULL, TINY)[-1]
    with bench.case(label, "resumed", "second run", seconds=20) as wanted:
        if not wanted:
            return
        folder = student(name).folder
        whole = load_file(folder / "whole.safetensors")
        killed = trained(folder, bench, steps // 2)
        went_on = trained(folder, bench)
        if (killed, went_on) != (steps // 2, steps - steps // 2):
            raise RuntimeError(f"killed after {killed} of {steps} steps, {went_on} steps after that")
        bench.row(label, "resumed", apart(whole, load_file(folder / "run.safetensors")), "largest difference")
        trained(folder, bench)
        bench.row(label, "second run", apart(whole, load_file(folder / "run.safetensors")), "largest difference")


def trained(folder: Path, bench: Bench, kill_at: int | None = None) -> int:
    """How many steps the fine-tuning of `train` made in a process of its own, from its checkpoint if there is one."""
    tiny, end = str(int(bench.tiny)), [] if kill_at is None else [str(kill_at)]
    command = [sys.executable, "-m", "gpu.parts.chain", str(folder), bench.device, tiny, *end]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    expected = 0 if kill_at is None else -signal.SIGKILL
    if done.returncode != expected:
        raise RuntimeError(f"the training ended with {done.returncode}, not {expected}")
    return done.stdout.count("step")


def apart(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference of two models' weights."""
    return max(float((a[name].float() - b[name].float()).abs().max()) for name in a)


def main(folder: Path, device: str, tiny: bool, kill_at: int | None = None) -> None:
    """The fine-tuning of `train`, saved after every step; it kills itself instead of saving step `kill_at`."""
    _, count, _, _, steps = TINY if tiny else FULL
    arch = yaml.safe_load((registry.PACKAGE / "models" / "archs" / "drawn-vit.yaml").read_text())
    backbone = build(arch)
    backbone.clip.load_state_dict(load_file(folder / "backbone.safetensors"))
    backbone.clip.to(device).eval().requires_grad_(False)
    checkpoint = Checkpoint(folder / "last.ckpt", "run", every=0.0)

    def log(row: dict) -> None:
        if row["step"] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        print("step", row["step"], flush=True)

    task = task_of(backbone, device)
    tecoa(task, count, steps, device, checkpoint, log)
    save_file(trained_tensors(task.visual, task.original), folder / "run.safetensors")
    checkpoint.done()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "1", *map(int, sys.argv[4:]))

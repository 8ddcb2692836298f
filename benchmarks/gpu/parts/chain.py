"""The embedded benchmark's chain on the GPU: pretrained, fine-tuned with AMP, attacked; killed, and short of memory."""

import contextlib
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gpu import embedded
from gpu.bench import Bench
from gpu.embedded import Student
from gpu.rows import CHANGED
from gpu.towers import EMBEDDED, outcome
from zsr.training.checkpoint import Checkpoint
from zsr.training.fine_tune import trained_tensors

# AutoAttack is so short that a CPU can follow in seconds
ATTACKS = {"pgd": (None, {"steps": 20}), "autoattack": (200, {"steps": 10, "targets": 3, "queries": 100})}


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as folder:
        student = cache(lambda name: train(bench, name, Path(folder) / name))  # by the first case that needs it
        for name in EMBEDDED:
            bench.case(f"{name}, TeCoA", partial(student, name), seconds=20)
            for attack in ATTACKS:
                label = f"{name}, {attack} against the CPU"
                bench.case(label, partial(compare_verdicts, bench, label, student, name, attack), seconds=6)
        vit = partial(student, EMBEDDED[0])
        bench.case("too little memory", partial(too_little_memory, bench, vit), seconds=5)
        bench.case("killed and resumed", partial(kill_and_resume, bench, vit), seconds=25)
        bench.case("a cell of the default config", partial(cell_times, bench, vit), seconds=15)


def train(bench: Bench, name: str, folder: Path) -> Student:
    """Pretrain and fine-tune; both weights stay in `folder`."""
    label, length = f"{name}, TeCoA", bench.size(embedded.FULL, embedded.TINY)
    folder.mkdir()
    begun = time.monotonic()
    backbone = embedded.pretrain(name, length, bench.device)
    bench.row(label, "pretrained", length.pretraining / (time.monotonic() - begun), "steps/s")
    embedded.save_backbone(backbone, folder)
    log: list[dict] = []
    begun = time.monotonic()
    checkpoint = Checkpoint(folder / "unused.ckpt", label)
    task = embedded.fine_tune_tecoa(backbone, length, bench.device, checkpoint, log.append)
    bench.row(label, "fine-tuned", length.finetuning / (time.monotonic() - begun), "steps/s")
    skipped = sum(not math.isfinite(row["grad_norm"]) for row in log)
    bench.row(label, "fine-tuned", skipped, "steps skipped by the scaler")
    bench.row(label, "fine-tuned", log[-1]["loss"] / log[0]["loss"], "of its first loss")
    save_file(trained_tensors(task.visual, task.original), folder / embedded.WHOLE)
    return Student(backbone, task, length, folder)


def compare_verdicts(bench: Bench, label: str, student: Callable[[str], Student], name: str, attack: str) -> None:
    """The same attack on the GPU and on the CPU: how many verdicts differ?"""
    count, settings = bench.size(ATTACKS[attack], (10, dict.fromkeys(ATTACKS[attack][1], 3)))
    model = student(name)
    on_cpu = model.attack("cpu", attack, count=count, **settings)
    for precision in ("fp32", "tf32", "fp16") if bench.cuda else ("fp32",):
        here = model.attack(bench.device, attack, precision, count, **settings)
        changed = float((here.robust.cpu() != on_cpu.robust).float().mean())
        bench.row(label, precision, changed, CHANGED, note=f"CPU: {outcome(on_cpu, embedded.EPS)}")


def too_little_memory(bench: Bench, student: Callable[[], Student]) -> None:
    """The allocator gets too little memory for the batch: smaller parts, the same verdicts."""
    if not bench.cuda:
        why = "a CPU's memory cannot be limited this way (tests/attacks/test_out_of_memory.py)"
        bench.row("too little memory", "halved", None, CHANGED, note=f"not run: {why}")
        return
    model = student()
    settings = {"steps": 5, "batch_size": len(model.x)}
    model.attack(bench.device, "pgd", **settings)  # the model, the kernels and the libraries' workspaces are there
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    whole = model.attack(bench.device, "pgd", **settings)
    grown = torch.cuda.max_memory_allocated() - before
    with limited_memory(before + 0.4 * grown):
        cut = model.attack(bench.device, "pgd", **settings)
    notes = [note for note in cut.notes if "out of memory" in note]
    if not notes:
        raise RuntimeError("the memory limit did not take effect, so nothing was tested")
    changed = float((whole.robust != cut.robust).float().mean())
    bench.row("too little memory", "halved", changed, CHANGED, note=notes[0])


@contextlib.contextmanager
def limited_memory(size: float) -> Iterator[None]:
    """Limit PyTorch's allocator to so many bytes."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def kill_and_resume(bench: Bench, student: Callable[[], Student]) -> None:
    """The same fine-tuning twice more: killed half-way and started again; then without a kill."""
    steps, folder = bench.size(embedded.FULL, embedded.TINY).finetuning, student().folder
    made = [fine_tune_in_process(bench, folder, kill_at) for kill_at in (steps // 2, None)]
    if made != [steps // 2, steps - steps // 2]:
        raise RuntimeError(f"of {steps} steps, {made[0]} were made before the kill and {made[1]} after it")
    for side in ("resumed", "second run"):
        if side == "second run":
            fine_tune_in_process(bench, folder)
        first, again = (load_file(folder / name) for name in (embedded.WHOLE, embedded.AGAIN))
        largest = max(float((first[name].float() - again[name].float()).abs().max()) for name in first)
        bench.row("killed and resumed", side, largest, "largest difference")


def fine_tune_in_process(bench: Bench, folder: Path, kill_at: int | None = None) -> int:
    """The fine-tuning in a process of its own, from its checkpoint if there is one; returns how many steps it made."""
    command = [sys.executable, "-m", "gpu.embedded", str(folder), bench.device, str(int(bench.tiny))]
    command += [] if kill_at is None else [str(kill_at)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    expected = 0 if kill_at is None else -signal.SIGKILL
    if done.returncode != expected:
        raise RuntimeError(f"the fine-tuning ended with status {done.returncode}, not {expected}")
    return done.stdout.count("step")


def cell_times(bench: Bench, student: Callable[[], Student]) -> None:
    """A cell (PGD-20, 200 images) on the device and on one CPU thread: its work, and the start of its process."""
    model, threads, count = student(), torch.get_num_threads(), bench.size(200, 20)
    for side, device in {"device": bench.device, "one CPU thread": "cpu"}.items():
        torch.set_num_threads(1 if side == "one CPU thread" else threads)
        model.attack(device, "pgd", count=count, steps=2)  # warms up
        took, _ = bench.time_once(partial(model.attack, device, "pgd", count=count, steps=20))
        bench.row("a cell of the default config", side, took, "s of work")
        command = [sys.executable, "-m", "gpu.first_attack", device]
        took, _ = bench.time_once(partial(subprocess.run, command, check=True))
        bench.row("a cell of the default config", side, took, "s from start to end of a first attack")
    torch.set_num_threads(threads)

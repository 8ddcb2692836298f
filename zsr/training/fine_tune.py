"""The training loop, once, for every method: method = loss + which parameters train + inner attack.

The order of images is a function of (seed, epoch), random starts of (seed, image, step): a training that was stopped
goes on from `last.ckpt` and ends bit-identical to one that was not (CPU, same number of threads).
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.methods.core.base import Method
from zsr.methods.core.source_set import SourceSet
from zsr.methods.core.task import Batch, Task
from zsr.models.precision import flags
from zsr.progress import Progress
from zsr.training.checkpoint import Checkpoint
from zsr.training.lr_schedule import warm_cosine
from zsr.training.pass_counter import Passes
from zsr.training.recipe import Recipe

ATTACK_SCALE = 1024.0  # of the inner attack's loss under float16, where small gradients are rounded to 0


@flags()  # a card would round the convolutions of float32 to TF32 unless told
def fine_tune(
    method: Method,
    task: Task,
    source: SourceSet,
    recipe: Recipe,
    *,
    device: str,
    checkpoint: Checkpoint,
    log: Callable[[dict], None],
) -> dict[str, float]:
    """Train `task.visual` in place; returns what the manifest says of the cost."""
    method.check(task)
    task.wrap_student(method.wrap)
    task.processes.share_batchnorm(task.visual)
    source = source.subset(recipe.images, task.seed, recipe.shots, task.classes)
    method.prepare(task, source)
    batch = min(recipe.batch, len(source.labels))
    steps = max(1, round(recipe.epochs * len(source.labels) / batch))
    task.cache_original_features(source, steps * batch // task.processes.size)
    torch.manual_seed(task.seed)  # for methods with dropout or random views
    parameters = choose_parameters(method, task.visual)
    optimizer = make_optimizer(recipe, parameters)
    warmup = min(recipe.warmup, steps // 5)  # the papers' 1000 steps would be all of a short training
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, warmup, steps))
    half = recipe.amp == "fp16" and device == "cuda"
    scaler = torch.amp.GradScaler(device, enabled=half)
    task.attack_scale = ATTACK_SCALE if half else 1.0

    state = checkpoint.load()
    first = restore(state, task.visual, optimizer, schedule, scaler) if state else 0
    before = state["seconds"] if state else 0.0  # spent by the runs that were interrupted
    value = state["loss"] if state else math.nan  # a run may have been stopped after its last step
    progress = Progress("fine-tuning", steps, first)
    passes = Passes(task)
    start = time.monotonic()
    for step, chosen in enumerate(order(len(source.labels), batch, first, steps, task.seed), first):
        mine = task.processes.part_of_batch(chosen)
        images = torch.from_numpy(source.images[mine]).to(device, non_blocking=True).float().div_(255)
        labels = torch.from_numpy(source.labels[mine]).to(device, non_blocking=True)
        keys = torch.from_numpy(mine).to(device)
        task.visual.train(recipe.batchnorm == "train")
        with autocast(recipe.amp, device):
            loss, extra = method.loss(task, Batch(images, labels, keys, step))
        value = task.processes.mean(loss)  # the step's one synchronisation; a NaN must not reach the weights
        check_finite(value, "loss", step, chosen)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        task.processes.average_gradients(parameters)
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, recipe.clip or math.inf).item()
        if not scaler.is_enabled():  # under fp16 the scaler skips a step that overflowed, and lowers its scale
            check_finite(norm, "gradient", step, chosen)
        scaler.step(optimizer)
        scaler.update()
        rate = schedule.get_last_lr()[0]
        schedule.step()
        extra = {name: task.processes.mean(term) for name, term in extra.items()}
        log({"step": step, "loss": value, "lr": rate, "grad_norm": norm, **extra})
        progress.step(note=f"loss {value:.4f}")
        spent = before + time.monotonic() - start
        checkpoint.step(lambda: state_of(step + 1, spent, value, task.visual, optimizer, schedule, scaler))  # noqa: B023
    seconds = before + time.monotonic() - start
    seen = (steps - first) * batch // task.processes.size  # by this process since it started
    task.visual.eval().requires_grad_(False)
    return {
        "steps": steps,
        "batch": batch,
        "images_per_second": round(steps * batch / max(seconds, 1e-9), 2),
        "seconds_per_step": round(seconds / steps, 5),
        "train_seconds": round(seconds, 3),
        "passes_per_image": passes.per_image(seen),
        "final_loss": value,
    }


def choose_parameters(method: Method, visual: nn.Module) -> list[nn.Parameter]:
    """Freeze all but what the method trains."""
    names = set(method.trainable(visual))
    missing = names - {name for name, _ in visual.named_parameters()}
    if missing:
        raise ZsrError(f"{type(method).__name__}: this backbone has no parameter '{sorted(missing)[0]}'")
    for name, parameter in visual.named_parameters():
        parameter.requires_grad_(name in names)
    return [parameter for name, parameter in visual.named_parameters() if name in names]


def make_optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """SGD with momentum as in the papers, or AdamW with the momentum as β1."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    betas = (recipe.momentum, 0.999)
    return torch.optim.AdamW(parameters, recipe.lr, betas=betas, weight_decay=recipe.weight_decay)


def order(count: int, batch: int, first: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of each step: the epochs' permutations end to end, cut into full batches; step `first` at once."""
    place = first * batch
    for _ in range(first, steps):
        wanted: list[np.ndarray] = []
        need = batch
        while need:
            epoch, offset = divmod(place, count)
            taken = permutation(count, seed, epoch)[offset : offset + need]
            wanted.append(taken)
            place += len(taken)
            need -= len(taken)
        yield np.concatenate(wanted)


def permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch, a function of (seed, epoch) alone. 10 ms for ImageNet: not worth a cache."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def autocast(amp: str, device: str) -> AbstractContextManager:
    """Autocast on CUDA as the recipe says; a plain context elsewhere."""
    types = {"fp16": torch.float16, "bf16": torch.bfloat16}
    if amp == "off" or device != "cuda":
        return nullcontext()
    return torch.autocast(device, dtype=types[amp])


def check_finite(value: float, what: str, step: int, chosen: np.ndarray) -> None:
    """Stop before the weights are spoiled, and say with which images."""
    if not math.isfinite(value):
        raise ZsrError(
            f"the {what} is {value} at step {step}, images {chosen.tolist()}; lower the learning rate or clip the "
            "gradient (clip: 1.0)"
        )


def state_of(step: int, seconds: float, loss: float, visual: nn.Module, optimizer, schedule, scaler) -> dict:
    """All that the rest of the training depends on; data order and starts follow from the step."""
    return {
        "step": step,
        "seconds": seconds,
        "loss": loss,
        "visual": visual.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "scaler": scaler.state_dict(),
        "rng": torch.get_rng_state(),
    }


def restore(state: dict, visual: nn.Module, optimizer, schedule, scaler) -> int:
    """Put a saved state back; returns the step to go on with."""
    visual.load_state_dict(state["visual"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["rng"])
    return state["step"]


def trained_tensors(visual: nn.Module, original: dict[str, Tensor]) -> dict[str, Tensor]:
    """What differs from the backbone: what trained, BatchNorm's statistics, and all that the backbone does not have."""
    return {
        name: value.detach().cpu().contiguous()
        for name, value in visual.state_dict().items()
        if name not in original or not torch.equal(value.cpu(), original[name].cpu())
    }

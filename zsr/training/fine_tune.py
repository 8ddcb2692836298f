"""Fine-tuning, once, for every method: method = loss + which parameters train + inner attack.

The order of images is a function of (seed, epoch), random starts of (seed, image, step): a training that was stopped
goes on from `last.ckpt` and ends bit-identical to one that was not (CPU, same number of threads).
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.methods.core.base import Method
from zsr.methods.core.source_set import SourceSet
from zsr.methods.core.task import Batch, Task
from zsr.models.precision import flags
from zsr.training.checkpoint import Checkpoint
from zsr.training.loop import Row, Training, run_training
from zsr.training.lr_schedule import warm_cosine
from zsr.training.pass_counter import Passes
from zsr.training.recipe import Recipe

ATTACK_SCALE = 1024.0  # of the inner attack's loss under float16, where small gradients are rounded to 0


def fine_tune(
    method: Method,
    task: Task,
    source_set: SourceSet,
    recipe: Recipe,
    *,
    device: str,
    checkpoint: Checkpoint,
    log: Callable[[Row], None],
) -> dict:
    """Train `task.visual` in place; returns the cost, for the record."""
    training = FineTuning(method, task, source_set, recipe, device)
    run_training(training, checkpoint, log)
    return training.finish()


class FineTuning(Training):
    """The fine-tuning of `task.visual` in place."""

    name = "fine-tuning"
    cure = "lower the learning rate or clip the gradient (clip: 1.0)"

    @flags()
    def __init__(self, method: Method, task: Task, source_set: SourceSet, recipe: Recipe, device: str) -> None:
        method.check(task)
        task.wrap_student(method.wrap)
        task.processes.share_batchnorm(task.visual)
        source_set = source_set.subset(recipe.images, task.seed, recipe.shots, task.classes)
        method.prepare(task, source_set)
        self.method, self.task, self.source_set, self.recipe, self.device = method, task, source_set, recipe, device
        self.count = len(source_set.labels)
        self.batch_size = min(recipe.batch, self.count)
        self.steps = max(1, round(recipe.epochs * self.count / self.batch_size))
        task.cache_original_features(source_set, self.steps * self.batch_size // task.processes.size)
        torch.manual_seed(task.seed)  # for methods with dropout or random views
        self.parameters = choose_parameters(method, task.visual)
        self.optimizer = make_optimizer(recipe, self.parameters)
        warmup = min(recipe.warmup, self.steps // 5)  # the papers' 1000 steps would be all of a short training
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: warm_cosine(step, warmup, self.steps)
        )
        half = recipe.amp == "fp16" and device == "cuda"
        self.scaler = torch.amp.GradScaler(device, enabled=half)
        task.attack_scale = ATTACK_SCALE if half else 1.0
        self.first = 0  # step that this process began with
        self.earlier_seconds = 0.0  # of the runs that were interrupted
        self.passes = Passes(task)
        self.started = time.monotonic()

    def update(self) -> Row:
        task, scaler = self.task, self.scaler
        batch = self.batch(self.step)
        task.visual.train(self.recipe.batchnorm == "train")
        with autocast(self.recipe.amp, self.device):
            loss, logged = self.method.loss(task, batch)
        self.last_loss = task.processes.mean(loss)  # the step's one device sync; a NaN must not reach the weights
        self.check_finite(self.last_loss, "loss")
        self.optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        task.processes.average_gradients(self.parameters)
        scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip or math.inf).item()
        if not scaler.is_enabled():  # under fp16 the scaler skips a step that overflowed, and lowers its scale
            self.check_finite(norm, "gradient")
        scaler.step(self.optimizer)
        scaler.update()
        rate = float(self.schedule.get_last_lr()[0])
        self.schedule.step()
        means = {name: task.processes.mean(term) for name, term in logged.items()}
        return {"step": self.step, "loss": self.last_loss, "lr": rate, "grad_norm": norm, **means}

    def chosen(self, step: int) -> np.ndarray:
        return chosen_images(self.count, self.batch_size, step, self.task.seed)

    def batch(self, step: int) -> Batch:
        """This process's part of a step's images."""
        keys = self.task.processes.part_of_batch(self.chosen(step))
        images = torch.from_numpy(self.source_set.images[keys]).to(self.device, non_blocking=True).float().div_(255)
        labels = torch.from_numpy(self.source_set.labels[keys]).to(self.device, non_blocking=True)
        return Batch(images, labels, torch.from_numpy(keys).to(self.device), step)

    @property
    def seconds(self) -> float:
        """What the steps have taken, those of interrupted runs included."""
        return self.earlier_seconds + time.monotonic() - self.started

    def state_dict(self) -> dict:
        """All that the rest of the training depends on; data order and random starts follow from the step."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.last_loss,
            "visual": self.task.visual.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.step = self.first = state["step"]
        self.earlier_seconds, self.started = state["seconds"], time.monotonic()
        self.last_loss = state["loss"]  # a run may have been stopped after its last step
        self.task.visual.load_state_dict(state["visual"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])

    def finish(self) -> dict:
        """Freeze the student, in eval mode; returns the cost, for the record."""
        seconds, steps, batch = self.seconds, self.steps, self.batch_size
        seen = (steps - self.first) * batch // self.task.processes.size  # by this process since it started
        self.task.visual.eval().requires_grad_(False)
        return {
            "steps": steps,
            "batch": batch,
            "images_per_second": round(steps * batch / max(seconds, 1e-9), 2),
            "seconds_per_step": round(seconds / steps, 5),
            "train_seconds": round(seconds, 3),
            "passes_per_image": self.passes.per_image(seen),
            "final_loss": self.last_loss,
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


def chosen_images(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Indices of one step: the epochs' permutations end to end, cut into full batches."""
    parts: list[np.ndarray] = []
    start, end = step * batch, (step + 1) * batch
    while start < end:
        epoch, offset = divmod(start, count)
        part = permutation(count, seed, epoch)[offset : offset + end - start]
        parts.append(part)
        start += len(part)
    return np.concatenate(parts)


def permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch, a function of (seed, epoch) alone. 10 ms for ImageNet: not worth a cache."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def autocast(amp: str, device: str) -> AbstractContextManager:
    """Autocast on CUDA as the recipe says; a plain context elsewhere."""
    types = {"fp16": torch.float16, "bf16": torch.bfloat16}
    if amp == "off" or device != "cuda":
        return nullcontext()
    return torch.autocast(device, dtype=types[amp])


def trained_tensors(visual: nn.Module, original: dict[str, Tensor]) -> dict[str, Tensor]:
    """What differs from the backbone: what trained, BatchNorm's statistics, and all that the backbone does not have."""
    return {
        name: value.detach().cpu().contiguous()
        for name, value in visual.state_dict().items()
        if name not in original or not torch.equal(value.cpu(), original[name].cpu())
    }

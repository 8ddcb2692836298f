"""One training over several processes, each with its part of every batch: `processes` of the recipe.

The job itself is rank 0: it alone logs, saves and publishes. The others are children that do the same steps on their
parts and go when it goes, however it ends. Weights are equal on all ranks at all times: they start from the same files,
and gradients are averaged before the clip and the step, so that the training is that of one process with the same
global batch, up to the order of sums.

This is no `DistributedDataParallel`: its reducer hooks one forward and one backward, where a step here has several
(attack, adversarial, clean). The gradients travel in one piece after the backward, not beside it; an exchange of
ViT-B/32's 350 MB stands against a step of at least six passes.

    with training_processes(count, device, follow, job) as processes:  # the children run `follow(processes, job)`
        fine_tune(method, Task(…, processes=processes), …)
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.nn.functional as together  # all_reduce and all_gather with gradient
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes
from torch.nn.modules.batchnorm import _BatchNorm

from zsr.errors import ZsrError
from zsr.jobs.stopping import children_ignore_stops, die_with_parent
from zsr.methods.core.processes import ONE_PROCESS, Processes
from zsr.training.checkpoint import Checkpoint

PATIENCE = timedelta(minutes=10)  # how long a rank waits for the others: for the slowest start, or a checkpoint
LOOPBACK = "127.0.0.1"


class DistributedProcesses(Processes):
    """A process among others."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def part_of_batch(self, chosen: np.ndarray) -> np.ndarray:
        if len(chosen) % self.size:  # unequal parts would weigh images unequally
            raise ZsrError(f"processes: a batch of {len(chosen)} cannot be split into {self.size} equal parts")
        part = len(chosen) // self.size
        return chosen[self.rank * part : (self.rank + 1) * part]

    def gather(self, part: Tensor) -> Tensor:
        if part.requires_grad:
            return torch.cat(together.all_gather(part.contiguous()))
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def mean(self, value: Tensor) -> float:
        total = value.detach().double()
        dist.all_reduce(total)
        return total.item() / self.size

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def share_batchnorm(self, visual: nn.Module) -> None:
        for module in visual.modules():
            if isinstance(module, _BatchNorm):
                module.__class__ = type(f"Shared{type(module).__name__}", (SharedNorm, type(module)), {})


class SharedNorm(_BatchNorm):
    """BatchNorm over the whole batch in train mode. torch's own (SyncBatchNorm) runs on CUDA alone."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        size = dist.get_world_size()
        axes = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        wide = x.float()
        mean = together.all_reduce(wide.mean(axes)) / size  # equal parts: the mean of means is the mean
        centred = wide - mean.view(shape)
        variance = together.all_reduce(centred.square().mean(axes)) / size
        if self.track_running_stats:
            self._move(mean.detach(), variance.detach(), size * x.numel() // x.shape[1])
        normed = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return normed.to(x.dtype)

    def _move(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, if there are any, as torch does: towards the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


class FollowerCheckpoint(Checkpoint):
    """The checkpoint of a child: it goes on from where rank 0 does, and never saves; a stop is rank 0's business."""

    def step(self, state: Callable[[], dict]) -> None:
        """Nothing to save."""


@contextmanager
def training_processes(count: int, device: str, follow: Callable, *arguments: object) -> Iterator[Processes]:
    """This process as rank 0 of `count`; the others run `follow(processes, *arguments)`. With 1 it is alone."""
    if count == 1:
        yield ONE_PROCESS
        return
    if device == "cuda" and count > torch.cuda.device_count():
        raise ZsrError(f"processes: {count}, but this machine has {torch.cuda.device_count()} GPU(s)")
    store = dist.TCPStore(LOOPBACK, 0, count, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    start = (os.getpid(), count, store.port, device, torch.get_num_threads(), follow, arguments)
    with children_ignore_stops():  # rank 0 saves, and the others go with it
        children = start_processes(_child, start, nprocs=count - 1, join=False, start_method="spawn")
    try:
        _join(store, 0, count, device)
        yield DistributedProcesses(0, count)
        dist.destroy_process_group()
        for process in children.processes:
            process.join(PATIENCE.total_seconds())
        if any(process.exitcode for process in children.processes):
            raise RuntimeError("a process of the training failed at its end")
    except RuntimeError as error:  # an exchange that broke: the cause is where a child fell, if one did
        raise _blamed(children, error) from error
    finally:
        for process in children.processes:
            process.kill()
            process.join()
        if dist.is_initialized():
            dist.destroy_process_group()


def _blamed(children: ProcessContext, error: RuntimeError) -> Exception:
    """One line of the child that ended, or the error itself if all are alive."""
    try:
        children.join(timeout=5)
    except ProcessException as fallen:
        rank = fallen.error_index + 1
        return ZsrError(f"process {rank} of the training ended: {str(fallen).strip().splitlines()[-1]}")
    return error


def _join(store: dist.TCPStore, rank: int, size: int, device: str) -> None:
    """Enter the group: gloo on the CPU, over the loopback device, nccl between GPUs."""
    if device == "cuda":
        torch.cuda.set_device(rank)
    elif sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else gloo asks for the host's name
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)


def _child(
    index: int, parent: int, size: int, port: int, device: str, threads: int, follow: Callable, arguments: tuple
) -> None:
    """Rank index + 1: the same steps on its part; it ends with its parent."""
    die_with_parent(signal.SIGKILL)
    if sys.platform == "linux" and os.getppid() != parent:  # it ended before the line above
        os._exit(1)
    torch.set_num_threads(threads)
    _join(dist.TCPStore(LOOPBACK, port, size, is_master=False, timeout=PATIENCE), index + 1, size, device)
    with Path(os.devnull).open("w", encoding="utf-8") as silence, redirect_stderr(silence):  # rank 0 speaks for all
        follow(DistributedProcesses(index + 1, size), *arguments)  # an error travels back through torch's launcher
    dist.destroy_process_group()

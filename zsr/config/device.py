"""Which device this machine has, and `device: auto`: CUDA if there is a GPU, else the CPU. Imports no torch.

It is resolved once, when the config is read, and every spec holds the resolved device: a CPU's result and a GPU's are
never confused. Both lie at the same paths, so a change of device would replace all results; where only the machine has
changed and not the config, that is refused instead.
"""

import ast
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsr.errors import ZsrError, unknown
from zsr.storage.records import read_record

if TYPE_CHECKING:
    from zsr.plan.plan import Plan

AUTO, DEVICES = "auto", ("cpu", "cuda")
ZSR_DEVICE = "ZSR_DEVICE"  # a user's word on what `auto` is
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
NO_GPU = (
    "device: cuda: this machine shows no GPU (no driver, no card, CUDA_VISIBLE_DEVICES or ZSR_GPUS hides it, or torch "
    "is a CPU build); run where there is one, or write device: cpu"
)


def resolve_auto(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config with a device in place of `auto`."""
    return {**raw, "device": detected_device()} if raw.get("device") == AUTO else raw


def detected_device() -> str:
    """What ZSR_DEVICE says; otherwise `cuda` if there is a GPU."""
    told = os.environ.get(ZSR_DEVICE)
    if told and told not in DEVICES:
        raise unknown("device", told, DEVICES, ZSR_DEVICE)
    return told or ("cuda" if count_gpus() else "cpu")


@cache
def count_gpus() -> int:
    """Number of GPUs that this Python can use; 0 if torch is a CPU build."""
    count = driver_gpus()
    if count and not torch_has_cuda():
        print("zsr: this machine has a GPU, and torch is a CPU build: no GPU is used", file=sys.stderr)
        return 0
    return count


def driver_gpus() -> int:
    """Number of GPUs that the driver shows (CUDA_VISIBLE_DEVICES, ZSR_GPUS). A broken driver is an error."""
    if os.environ.get("ZSR_GPUS", "all") == "":
        return 0
    import ctypes  # 2 ms: only where `auto` is to be resolved, or a GPU is needed

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0  # no driver
    count = ctypes.c_int()
    error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if error and error != NO_DEVICE:
        raise ZsrError(f"device: NVIDIA's driver fails with error {error}; repair it, or write device: cpu")
    return 0 if error else count.value


def torch_has_cuda() -> bool:
    """Whether this Python's torch is a CUDA build, read from torch/version.py; True where it is not installed."""
    found = importlib.util.find_spec("torch")
    path = Path(found.origin).with_name("version.py") if found and found.origin else None
    if path is None or not path.exists():
        return True  # another environment runs the jobs
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "cuda":
            return node.value is None or ast.unparse(node.value) != "None"
    return True


def refuse_other_device(raw: Mapping[str, Any], plan: "Plan") -> None:
    """Refuse to replace results because `auto` is another device than when they were made."""
    if raw.get("device") != AUTO:
        return
    here = plan.config.device
    there = next(devices_of_results(plan), here)  # the first is enough: no plan has two devices
    if there != here:
        raise ZsrError(
            f"{plan.results}: these results were made with device: {there}, and device: auto is {here} here; set "
            f"{ZSR_DEVICE}={there} to go on with them, or write device: {here} to replace them, or another `results`"
        )


def devices_of_results(plan: "Plan") -> Iterator[str]:
    """The device of each result that is there, from its record; damaged records are for `zsr verify`."""
    for job in plan.jobs.values():
        path = plan.results / job.record
        if "device" in job.spec and path.is_file():
            with suppress(ZsrError):
                yield read_record(path)["spec"]["device"]


def refuse_auto_on_cluster(raw: Mapping[str, Any], local: bool) -> None:
    """`auto` is about the machine that plans; jobs that run on others need the device's name."""
    if raw.get("device") == AUTO and not local:
        raise ZsrError(
            "device: auto is resolved on the machine that starts Snakemake, and the jobs run on others; write device: "
            "cuda (or cpu) in the config"
        )


def refuse_missing_gpu(device: str, jobs: Iterable[Any], own_torch: bool = True) -> None:
    """Refuse a run here whose jobs (of Snakemake) ask for a GPU that is not there, before data are prepared for it.

    `own_torch`: jobs run on this Python's torch, and not on that of an environment which Snakemake makes.
    """
    if device != "cuda" or not any(job.resources.get("gpu") for job in jobs):
        return
    if not driver_gpus() or (own_torch and not torch_has_cuda()):
        raise ZsrError(NO_GPU)


def unused_gpu_warning(device: str) -> str:
    """One line for a person whose GPU is not used, or ''."""
    if device != "cpu" or os.environ.get(ZSR_DEVICE):
        return ""
    try:
        gpus = count_gpus()
    except ZsrError:
        return ""  # the run needs no GPU, and so no driver
    return "this machine has a GPU that this run does not use (device: cpu); docs/gpus.md says why" if gpus else ""

"""What `device: auto` means: CUDA where this machine has a card, the CPU elsewhere. Imports no torch.

It is decided once, when the config is read, and no spec says `auto`: a number names the device that made it, so that a
laptop and a server that share a config and a results folder never take each other's numbers for their own. Snakemake
plans again in each of its jobs; ZSR_DEVICE hands the decision of the first plan down to them.
"""

import ctypes
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from zsr.errors import ZsrError, unknown

AUTO, DEVICES = "auto", ("cpu", "cuda")
VARIABLE = "ZSR_DEVICE"
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


def settled(raw: dict) -> dict:
    """The config with a device in place of `auto`."""
    return {**raw, "device": automatic()} if raw.get("device") == AUTO else raw


def automatic() -> str:
    """What ZSR_DEVICE says, or else whether there is a card."""
    told = os.environ.get(VARIABLE)
    if told and told not in DEVICES:
        raise unknown("device", told, DEVICES, VARIABLE)
    return told or ("cuda" if cards() else "cpu")


@cache
def cards() -> int:
    """How many cards the driver shows this process, as CUDA_VISIBLE_DEVICES has it; 0 where torch knows no CUDA."""
    if os.environ.get("ZSR_GPUS", "all") == "" or not _torch_has_cuda():
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0  # no driver
    count = ctypes.c_int()
    error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if error and error != NO_DEVICE:
        print(f"zsr: NVIDIA's driver is here and answers with error {error}: no GPU is used", file=sys.stderr)
    return 0 if error else count.value


def _torch_has_cuda() -> bool:
    """Builds for the CPU alone say so in their version, 2.11.0+cpu."""
    try:
        return not version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return True  # in another environment, which conda makes


def refuse_elsewhere(raw: dict, here: bool) -> None:
    """`auto` is about the machine that plans; jobs that run elsewhere need the device's name."""
    if raw.get("device") == AUTO and not here:
        raise ZsrError(
            "device: auto is decided on the machine that starts Snakemake, and the jobs run on others; write device: "
            "cuda (or cpu) in the config"
        )


def idle_card(device: str) -> str:
    """One line for a person whose card is not used, or ''."""
    if device != "cpu" or not cards():
        return ""
    return "the config says device: cpu, and this machine has a GPU; docs/gpus.md says when device: auto is faster"

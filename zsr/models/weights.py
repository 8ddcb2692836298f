"""Reads checkpoints in the usual formats: safetensors, torch files, OpenAI's archives. Nothing in a file is run.

Torch files are pickles; `weights_only=True` refuses all but tensors and plain containers. What trainings wrap around
the tensors (a key such as `state_dict`, the prefix of DataParallel) is taken off.
"""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.models import tensor_file, torchscript_archive
from zsr.storage.unreadable import reading

WRAPPERS = ("state_dict", "vision_encoder_state_dict", "model_state_dict", "model")  # the second: TeCoA's family
PREFIXES = ("module.", "_orig_mod.", "model.")
NOT_TENSORS_OF_THE_MODEL = ("input_resolution", "context_length", "vocab_size")  # OpenAI's archives carry them


def check(path: Path, sha256: str | None) -> str:
    """The sha256 of a file; refused if it is not the one that was asked for."""
    if not path.is_file():
        raise ZsrError(f"{path}: no such file; correct the backbone's or model's `weights`")
    digest = file_digest(path)
    if sha256 is not None and digest != sha256:
        raise ZsrError(f"{path}: its sha256 is {digest}, the config says {sha256}; another file, or a damaged one")
    return digest


def read(path: Path) -> tuple[dict[str, Tensor], bool | None]:
    """(tensors by name, whether they belong to QuickGELU where the file says it)."""
    quick = None
    if path.suffix == ".safetensors":
        tensors = tensor_file.load(path)
    elif torchscript_archive.is_archive(path):
        tensors, quick = torchscript_archive.read(path)
        tensors = {name: value for name, value in tensors.items() if name not in NOT_TENSORS_OF_THE_MODEL}
    else:
        tensors = unwrapped(_torch_file(path), path)
    return tensor_file.check_plain(tensors, path), quick


def _torch_file(path: Path) -> object:
    """What `torch.save` wrote, if it is tensors and plain containers."""
    with reading(path, "a checkpoint of torch"):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if not _is_pickle(path):
                raise ValueError(_why(error)) from error
            raise ZsrError(
                f"{path}: holds more than tensors, and zsr runs no pickle ({_why(error)}); load it where you trust it "
                "and save its state_dict as safetensors"
            ) from error


def _is_pickle(path: Path) -> bool:
    """Whether a file has the form of a pickle, alone or in a zip: a web page is none."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"\x80", b"PK\x03\x04"))


def unwrapped(content: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint without what a training wrapped around them."""
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict) and _tensors(content[key]):
            content = content[key]
    tensors = _tensors(content)
    if not tensors:
        keys = (
            f"it holds {', '.join(sorted(map(str, content))[:5])}" if isinstance(content, dict) else "it holds no dict"
        )
        raise ZsrError(f"{path}: no state dict in it; {keys}")
    while prefix := next((one for one in PREFIXES if all(name.startswith(one) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _tensors(content: object) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _why(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (named or lines or [type(error).__name__])[0][:160]

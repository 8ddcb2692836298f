"""Reads the tensors of a TorchScript archive (OpenAI's original `ViT-B-32.pt`) without running its code.

`torch.jit.load` compiles and runs the code that the archive brings, which is not less than running a pickle. All that
is wanted are tensors: they lie in a zip as plain bytes, named by a pickle of the module tree. That pickle is read here
with every class outside a short list refused: modules become bags of attributes, tensors views of their bytes.
"""

import io
import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from zsr.errors import ZsrError
from zsr.storage.unreadable import reading

DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
CURE = "get it again, or load it where you trust it and save its state_dict as safetensors"
QUICK = 1.702  # of x·σ(1.702 x): a literal in scripted code, a tensor among the constants of traced code
LITERAL = re.compile(rb"\b1\.702")
GELU = re.compile(rb"\bgelu\(")


class Bag:
    """A module or any other object of the archive: its attributes, and no behaviour."""

    def __init__(self, *values: object) -> None:
        self.values = values

    def __setstate__(self, state: object) -> None:
        self.state = state


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip with a folder of code."""
    with reading(path, "a checkpoint of torch"):
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    return any("/code/" in name for name in names) and any(name.endswith("/constants.pkl") for name in names)


def read(path: Path) -> tuple[dict[str, Tensor], bool | None]:
    """(tensors by their dotted names, whether the code computes QuickGELU; None where it computes neither)."""
    with reading(path, "a TorchScript archive", CURE), zipfile.ZipFile(path) as file:
        root = file.namelist()[0].partition("/")[0]
        try:
            tensors = dict(_tensors(_unpickled(file, root, "data"), ""))
            quick = _quick(file, root)
        except pickle.UnpicklingError as error:
            raise ZsrError(f"{path}: a TorchScript archive that cannot be read safely ({error}); {CURE}") from error
    if not tensors:
        raise ZsrError(f"{path}: a TorchScript archive without tensors; {CURE}")
    return tensors, quick


def _quick(file: zipfile.ZipFile, root: str) -> bool | None:
    """Whether the code computes QuickGELU; None where it computes neither that nor GELU."""
    code = [file.read(n) for n in file.namelist() if n.startswith(f"{root}/code/") and n.endswith(".py")]
    constants = _unpickled(file, root, "constants")
    if any(map(LITERAL.search, code)) or (isinstance(constants, Iterable) and any(map(_is_quick, constants))):
        return True
    return False if any(map(GELU.search, code)) else None


def _is_quick(constant: object) -> bool:
    """Whether a constant is QuickGELU's factor, in whichever precision."""
    if not isinstance(constant, Tensor) or not constant.is_floating_point() or constant.dim():
        return False
    return abs(float(constant) - QUICK) < QUICK * torch.finfo(constant.dtype).eps + 1e-9


def _unpickled(file: zipfile.ZipFile, root: str, part: str) -> object:
    """`data` or `constants`: a pickle, whose storages lie in the folder of its name."""
    return _Unpickler(io.BytesIO(file.read(f"{root}/{part}.pkl")), file, f"{root}/{part}").load()


def _tensors(module: object, prefix: str) -> list[tuple[str, Tensor]]:
    named: list[tuple[str, Tensor]] = []
    state = getattr(module, "state", None)
    if isinstance(state, dict):
        for name, value in state.items():
            if isinstance(value, Tensor):
                named.append((prefix + name, value))
            elif isinstance(value, Bag):
                named += _tensors(value, f"{prefix}{name}.")
    return named


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, file: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream, encoding="utf-8")
        self.file = file
        self.folder = folder
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> object:
        if module.startswith("__torch__"):
            return Bag
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module == "torch.jit._pickle":
            return Bag
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, key: tuple) -> Tensor:
        _, dtype, name, _, count = key
        if name not in self.storages:
            data = bytearray(self.file.read(f"{self.folder}/{name}"))
            self.storages[name] = torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0)
        return self.storages[name]


def _view(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
    """A tensor on its storage; `as_strided` refuses what would lie outside of it."""
    return storage.as_strided(size, stride, offset)

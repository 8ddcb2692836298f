"""Tables of bad weights: in each format and place, the mistake is one line that names file and tensor."""

import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.bad_bytes import HTML, LFS, zip_of
from support.bad_weights import GOOD, KINDS, torch_file
from support.hub_models import RESNET, TINY, definition, tiny
from support.project import refused
from torch import Tensor

from zsr.hashing import file_digest
from zsr.models import convert, weights
from zsr.models.backbone import Backbone, load_backbone, save_tensors

# -- files that are no weights ----------------------------------------------------------------------------------------


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("exploded",)


class Net(torch.nn.Linear):
    """A whole module, as `torch.save(model)` keeps it."""


def with_header(header: object, data: bytes = bytes(16), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: tuple = (4,), offsets: tuple = (0, 16)) -> dict:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


CHECKPOINT = torch_file({"a": torch.arange(400.0), "b": torch.ones(2, 3)})
LEGACY = torch_file({"a": torch.arange(4.0)}, _use_new_zipfile_serialization=False)
FILES: dict[str, tuple[str, bytes, str]] = {
    "empty safetensors": ("w.safetensors", b"", "not a safetensors file.*it is empty"),
    "page": ("w.safetensors", HTML, "not a safetensors file.*it is a web page"),
    "pointer": ("w.safetensors", LFS, "not a safetensors file.*pointer of Git LFS"),
    "header cut": ("w.safetensors", GOOD[:20], "not a safetensors file, damaged or cut short"),
    "length cut": ("w.safetensors", GOOD[:5], "not a safetensors file, damaged or cut short"),
    "data cut": ("w.safetensors", GOOD[:-5], "not a safetensors file, damaged or cut short"),
    "data longer": ("w.safetensors", GOOD + b"more", "not a safetensors file, damaged or cut short"),
    "header of a terabyte": ("w.safetensors", with_header({}, length=1 << 40), "not a safetensors file"),
    "header no JSON": ("w.safetensors", with_header(b"not json"), "not a safetensors file"),
    "header a list": ("w.safetensors", with_header([1]), "not a safetensors file"),
    "lies: shape": ("w.safetensors", with_header(entry(shape=(9,))), "not a safetensors file"),
    "lies: type": ("w.safetensors", with_header(entry("F64")), "not a safetensors file"),
    "lies: offsets": ("w.safetensors", with_header(entry(offsets=(0, 99))), "not a safetensors file"),
    "lies: negative": ("w.safetensors", with_header(entry(offsets=(-8, 8))), "not a safetensors file"),
    "lies: overflow": ("w.safetensors", with_header(entry(shape=(1 << 40, 1 << 40))), "not a safetensors file"),
    "unknown type": ("w.safetensors", with_header(entry("F31")), "not a safetensors file"),
    "torch inside": ("w.safetensors", CHECKPOINT, "not a safetensors file"),
    "empty pt": ("w.pt", b"", "not a checkpoint of torch.*it is empty"),
    "page pt": ("w.pt", HTML, "not a checkpoint of torch.*it is a web page"),
    "page bin": ("w.bin", b"\n\n <HTML>404", "not a checkpoint of torch.*it is a web page"),
    "pointer pt": ("w.pt", LFS, "not a checkpoint of torch.*pointer of Git LFS"),
    "text pt": ("w.pt", b"Not Found", "not a checkpoint of torch"),
    "safetensors inside": ("w.pt", GOOD, "not a checkpoint of torch"),
    "cut pt": ("w.pt", CHECKPOINT[: len(CHECKPOINT) // 2], "not a checkpoint of torch"),
    "end cut pt": ("w.pt", CHECKPOINT[:-30], "not a checkpoint of torch"),
    "cut legacy": ("w.pt", LEGACY[: len(LEGACY) // 2], "not a checkpoint of torch|holds more"),
    "zip of something else": ("w.pt", zip_of({"a.txt": b"text"}), "not a checkpoint of torch"),
    "empty zip": ("w.pt", zip_of({}), "not a checkpoint of torch"),
    "npz": ("w.pt", zip_of({"a.npy": b"\x93NUMPY"}), "not a checkpoint of torch"),
    "fake archive": ("w.pt", zip_of({"x/code/a.py": b"", "x/constants.pkl": b"", "x/data.pkl": b""}), "TorchScript"),
    "archive of nothing": (
        "w.pt",
        zip_of({"x/code/a.py": b"", "x/constants.pkl": pickle.dumps(()), "x/data.pkl": pickle.dumps({})}),
        "a TorchScript archive without tensors",
    ),
    "archive of code": (
        "w.pt",
        zip_of({"x/code/a.py": b"", "x/constants.pkl": b"", "x/data.pkl": pickle.dumps(Bomb())}),
        "cannot be read safely.*mkdir",
    ),
    "code": ("w.pt", pickle.dumps(Bomb(), 2), "holds more than tensors, and zsr runs no pickle.*mkdir"),
    "code in torch": ("w.pt", torch_file({"a": torch.ones(1), "b": Bomb()}), "holds more than tensors.*mkdir"),
    "module": ("w.pt", torch_file(Net(1, 1)), "holds more than tensors.*Net"),
    "empty dict": ("w.pt", torch_file({}), "no state dict in it"),
    "list": ("w.pt", torch_file([torch.ones(1)]), "no state dict in it; it holds no dict"),
    "tensor": ("w.pt", torch_file(torch.ones(1)), "no state dict in it; it holds no dict"),
    "numbers": ("w.pt", torch_file({"epoch": 3, "lr": 0.1}), "no state dict in it; it holds epoch, lr"),
    "nested": ("w.pt", torch_file({"net": {"deep": {"a": torch.ones(1)}}}), "no state dict in it; it holds net"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_weights(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    name, content, message = FILES[what]
    (tmp_path / name).write_bytes(content)
    with refused(message) as caught:
        weights.read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value) and not Path("exploded").exists()


def test_missing_weights(tmp_path: Path):
    with refused("w.pt: no such file; correct"):
        weights.check(tmp_path / "w.pt", None)
    with refused(": no such file; correct"):
        weights.check(tmp_path, None)


PLAIN = {"visual.proj": torch.ones(2, 2), "logit_scale": torch.tensor(1.0)}
WRAPPED: dict[str, object] = {
    "bare": PLAIN,
    "ordered": OrderedDict(PLAIN),
    "state_dict": {"epoch": 1, "state_dict": {f"module.{name}": value for name, value in PLAIN.items()}},
    "model": {"model": {f"_orig_mod.{name}": value for name, value in PLAIN.items()}, "optimizer": {"lr": 0.1}},
    "numbers beside": {**PLAIN, "epoch": 3},
    "parameters": {name: torch.nn.Parameter(value) for name, value in PLAIN.items()},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", WRAPPED)
def test_what_trainings_wrap_around_tensors_is_taken_off(what: str, zipped: bool, tmp_path: Path):
    (tmp_path / "w.pt").write_bytes(torch_file(WRAPPED[what], _use_new_zipfile_serialization=zipped))
    found, quick = weights.read(tmp_path / "w.pt")
    assert quick is None and found.keys() == PLAIN.keys()
    assert all(torch.equal(found[name], value) for name, value in PLAIN.items())


# -- tensors that are no weights --------------------------------------------------------------------------------------

NAME = "visual.proj"
SHAPES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "transposed": (lambda v: v.T.contiguous()[:5], r"'(visual\.)?proj' is \["),
    "flat": (lambda v: v.reshape(-1), r"'(visual\.)?proj' is \["),
    "scalar": (lambda v: v.sum(), r"'(visual\.)?proj' is \[\]"),
    "nothing": (lambda v: v[:0], r"'(visual\.)?proj' is \[0, "),
}
IN_TORCH: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sparse": (lambda v: v.to_sparse(), "is sparse, quantised or without data"),
    "meta": (lambda v: v.to("meta"), "is sparse, quantised or without data"),
}


def saved(folder: Path, tensors: dict[str, Tensor], kind: str) -> Path:
    path = folder / f"w.{kind}"
    if kind == "pt":
        torch.save(tensors, path)
    else:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


def fetched(path: Path, config: dict = TINY) -> Backbone:
    """As the rule `fetch` does it."""
    return convert.convert(definition(config), weights.read(path)[0], path)


def published(path: Path) -> dict[str, Tensor]:
    """As the rule `publish` does it."""
    base = tiny().state_dict()
    tower, rest = convert.tower_of(weights.read(path)[0])
    convert.check_text(rest, base, path)
    return convert.changed(tower, base, path)


@pytest.mark.parametrize("read", [fetched, published])
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
@pytest.mark.parametrize("what", [*KINDS, *SHAPES, *IN_TORCH])
def test_a_tensor_that_is_no_weight(what: str, kind: str, read: Callable, tmp_path: Path):
    if what in IN_TORCH and kind != "pt":
        kind = "pt"
    change, message = {**KINDS, **SHAPES, **IN_TORCH}[what]
    tensors = tiny().state_dict()
    tensors[NAME] = change(tensors[NAME])
    path = saved(tmp_path, tensors, kind)
    with refused(message) as caught:
        read(path)
    assert str(path) in str(caught.value) and "proj'" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_every_precision_is_rounded_to_the_models(dtype: torch.dtype, kind: str, tmp_path: Path):
    wanted = {name: value.to(dtype) for name, value in tiny().state_dict().items()}
    path = saved(tmp_path, wanted, kind)
    found = fetched(path).clip.state_dict()
    assert all(torch.equal(found[name], value.float()) for name, value in wanted.items())
    tower = {name.removeprefix("visual."): v + 0.5 for name, v in wanted.items() if name.startswith("visual.")}
    changed = published(saved(tmp_path, tower, kind))
    assert changed.keys() == tower.keys() and all(torch.equal(changed[name], v.float()) for name, v in tower.items())


@pytest.mark.parametrize(
    ("value", "fits"),
    [(torch.tensor(7, dtype=torch.int32), True), (torch.tensor(7.0), True), (torch.tensor(7.5), False),
     (torch.tensor(float("nan")), False), (torch.tensor(True), False), (torch.tensor(7j), False)],
)  # fmt: skip
def test_a_count_of_batches_stays_the_same_number(value: Tensor, fits: bool, tmp_path: Path):
    name = "visual.bn1.num_batches_tracked"
    tensors = tiny(RESNET).state_dict()
    assert tensors[name].dtype == torch.int64
    path = saved(tmp_path, tensors | {name: value}, "pt")
    if fits:
        assert fetched(path, RESNET).clip.state_dict()[name] == 7
    else:
        with refused(f"w.pt: the tensor '{name}' is "):
            fetched(path, RESNET)


def without(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in tiny().state_dict().items() if key != name}


KEYS = {
    "lacks": (without(NAME), "lacks the tensor '(visual.)?proj'"),
    "more": ({**tiny().state_dict(), "visual.more": torch.ones(1)}, "'(visual.)?more'"),
    "other": ({"visual.a": torch.ones(1)}, "checkpoint of"),
    "scale of two": ({**tiny().state_dict(), "logit_scale": torch.ones(2)}, "'logit_scale'"),
    "integer scale": ({**tiny().state_dict(), "logit_scale": torch.tensor(4)}, "'logit_scale' is int64"),
    "huge scale": (
        {**tiny().state_dict(), "logit_scale": torch.tensor(1e30)},
        "temperature is inf|'logit_scale' differs",
    ),
    "int8 text": (
        {**tiny().state_dict(), "text_projection": torch.ones(32, 32).to(torch.int8)},
        "'.*projection' is int8",
    ),
}


@pytest.mark.parametrize("read", [fetched, published])
@pytest.mark.parametrize("what", KEYS)
def test_names_that_do_not_fit(what: str, read: Callable, tmp_path: Path):
    tensors, message = KEYS[what]
    path = saved(tmp_path, tensors, "pt")
    with refused(rf"w\.pt: .*({message})"):
        read(path)


@pytest.mark.parametrize("what", ["int8", "bool", "complex"])
def test_our_own_file_with_another_kind_of_tensor(what: str, tmp_path: Path):
    """With a right digest, as if made by hand."""
    tensors = save_tensors(fetched(saved(tmp_path, tiny().state_dict(), "pt")))
    tensors[NAME] = KINDS[what][0](tensors[NAME])
    path = saved(tmp_path, tensors, "safetensors")
    with refused(rf"w\.safetensors: the tensor '{NAME}' is {what}"):
        load_backbone(path, {"definition": definition(), "digests": {"weights": file_digest(path)}})


def test_a_zip_that_is_encrypted(tmp_path: Path):
    """A zip can refuse in ways of its own."""
    content = bytearray(zip_of({"x/code/a.py": b"pass", "x/constants.pkl": b"x", "x/data.pkl": b"x"}))
    for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(start)
        while place >= 0:
            content[place + at] |= 1
            place = content.find(start, place + 1)
    (tmp_path / "w.pt").write_bytes(content)
    assert zipfile.is_zipfile(tmp_path / "w.pt")
    with refused(r"w\.pt: not a TorchScript archive.*encrypted"):
        weights.read(tmp_path / "w.pt")

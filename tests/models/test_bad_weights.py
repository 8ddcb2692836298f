"""Tables of bad weights: in each format and place, the mistake is one line that names file and tensor."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from support import encoders
from support.bad_bytes import HTML, LFS, zip_of
from support.encoders import projection_file, sentence_folder
from support.hub_models import RESNET, TINY, definition, in_cache, tiny
from support.project import refused
from torch import Tensor

from zsr.hashing import file_digest
from zsr.models import convert, dual_parts, hub, sentence_encoder, text_vectors, tokenizers, weights
from zsr.models.backbone import Backbone, load_backbone, save_tensors
from zsr.models.fetch import hub_definition

# -- files that are no weights ----------------------------------------------------------------------------------------


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("exploded",)


class Net(torch.nn.Linear):
    """A whole module, as `torch.save(model)` keeps it."""


def torch_file(value: object, **how: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def safe_file(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save(tensors)


def with_header(header: object, data: bytes = bytes(16), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: tuple = (4,), offsets: tuple = (0, 16)) -> dict:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


GOOD = safe_file({"a": torch.arange(4.0), "b": torch.ones(2, 3)})
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


def huge(value: Tensor) -> Tensor:
    made = value.double()
    made.view(-1)[0] = 1e300
    return made


def with_one(number: float) -> Callable[[Tensor], Tensor]:
    def change(value: Tensor) -> Tensor:
        made = value.clone()
        made.view(-1)[0] = number
        return made

    return change


KINDS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "int8": (lambda v: (v * 100).to(torch.int8), "is int8, the model's is float32; save the weights as float32"),
    "uint8": (lambda v: (v * 100).to(torch.uint8), "is uint8, the model's is float32"),
    "int64": (lambda v: (v * 100).long(), "is int64, the model's is float32"),
    "bool": (lambda v: v > 0, "is bool, the model's is float32"),
    "complex": (lambda v: v + 1j, "is complex64; save the weights as float32"),
    "float8": (lambda v: v.to(torch.float8_e4m3fn), "is float8_e4m3fn; save the weights as float32"),
    "float8 e5m2": (lambda v: v.to(torch.float8_e5m2), "is float8_e5m2; save the weights"),
    "1e300": (huge, "holds values that are not finite in float32; a damaged checkpoint"),
    "nan": (with_one(float("nan")), "holds values that are not finite in float32"),
    "inf": (with_one(float("inf")), "holds values that are not finite in float32"),
    "half inf": (lambda v: with_one(float("inf"))(v.half()), "holds values that are not finite in float32"),
}
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


# -- projections ------------------------------------------------------------------------------------------------------

SCALE = np.float32(20.0)
PROJECTIONS: dict[str, tuple[dict, str]] = {
    "int8": ({"proj_weight": np.ones((16, 5), np.int8)}, "'proj_weight' is int8; save it as float32"),
    "bool": ({"proj_bias": np.ones(16, bool)}, "'proj_bias' is bool"),
    "complex": ({"proj_bias": np.ones(16, complex)}, "'proj_bias' is complex128"),
    "text": ({"proj_bias": np.array(["a"] * 16)}, "'proj_bias' is <U1"),
    "objects": ({"proj_bias": np.array([{}] * 16, object)}, "it holds objects, and zsr runs no pickle"),
    "1e300": ({"proj_bias": np.full(16, 1e300)}, "'proj_bias' holds values that are not finite in float32"),
    "nan": ({"text_mean": np.full(16, np.nan)}, "'text_mean' holds values that are not finite"),
    "rows": ({"proj_bias": np.ones((16, 1), np.float32)}, r"'proj_bias' is \[16, 1\], tower and text ask for \[16\]"),
    "two scales": ({"logit_scale": np.ones(2)}, r"'logit_scale' is \[2\], one number is wanted"),
    "integer scale": ({"logit_scale": np.int64(20)}, "'logit_scale' is int64"),
    "nan scale": ({"logit_scale": np.float32(np.nan)}, "its temperature is nan"),
    "negative scale": ({"logit_scale": np.float32(-1)}, "its temperature is -1.0"),
    "lacks": ({"proj_bias": None}, "has no array 'proj_bias'"),
}


class Places:
    """The places of a projection in a model of 5 features and 16 dimensions."""

    def __init__(self) -> None:
        self.clip = torch.nn.Module()
        self.clip.visual = torch.nn.Module()
        self.clip.visual.proj = torch.nn.Linear(5, 16)
        self.clip.text_mean = torch.zeros(16)
        self.clip.logit_scale = torch.nn.Parameter(torch.zeros(()))


def projected(path: Path) -> Places:
    made = Places()
    dual_parts.project(made, dual_parts.projection(path), path)
    return made


@pytest.mark.parametrize("what", PROJECTIONS)
def test_a_bad_projection(what: str, tmp_path: Path):
    changes, message = PROJECTIONS[what]
    path = projection_file(tmp_path / "p.npz", 5, **changes)
    with refused(rf"p\.npz: .*{message}"):
        projected(path)


def npy(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


PROJECTION_FILES = {
    "empty": ("p.npz", b"", "it is empty"),
    "page": ("p.npz", HTML, "it is a web page"),
    "one array": ("p.npz", npy(np.ones(3)), "it is one array; np.savez"),
    "npy": ("p.npy", npy(np.ones(3)), "it is one array; np.savez"),
    "pickle": ("p.npy", pickle.dumps([1]), "it holds objects, and zsr runs no pickle"),
    "zip": ("p.npz", zip_of({"a.txt": b"text"}), "has no array 'proj_weight'|not a projection"),
    "broken member": ("p.npz", zip_of({"proj_weight.npy": b"\x93NUMPY\x01\x00"}), "not a projection that can be read"),
    "head lies": (
        "p.npz",
        zip_of({"proj_weight.npy": npy(np.ones((16, 5))).replace(b"(16, 5)", b"(1" + b"0" * 4 + b",)")}),
        "not a projection that can be read",
    ),
    "safetensors": ("p.safetensors", GOOD, "has no array 'proj_weight'"),
    "cut safetensors": ("p.safetensors", GOOD[:-5], "not a safetensors file"),
    "complex": ("p.safetensors", safe_file({"proj_weight": torch.ones(1) + 1j}), "'proj_weight' is complex64"),
    "float8": ("p.safetensors", safe_file({"proj_weight": torch.ones(1).to(torch.float8_e5m2)}), "is float8_e5m2"),
}


@pytest.mark.parametrize("what", PROJECTION_FILES)
def test_a_file_that_is_no_projection(what: str, tmp_path: Path):
    name, content, message = PROJECTION_FILES[what]
    (tmp_path / name).write_bytes(content)
    with refused(message) as caught:
        dual_parts.projection(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_projection_in_every_order_and_precision(tmp_path: Path):
    plain = projected(projection_file(tmp_path / "plain.npz", 5))
    with np.load(tmp_path / "plain.npz") as file:
        arrays = {name: file[name] for name in file.files}
    turned = {name: np.asfortranarray(value.astype(">f8")) for name, value in arrays.items()}
    np.savez(tmp_path / "turned.npz", **turned)
    half = {name: torch.from_numpy(np.array(value)).bfloat16() for name, value in arrays.items()}
    save_file(half, tmp_path / "half.safetensors")
    turned = projected(tmp_path / "turned.npz")
    assert torch.equal(turned.clip.visual.proj.weight, plain.clip.visual.proj.weight)
    found = projected(tmp_path / "half.safetensors")
    assert torch.equal(found.clip.visual.proj.weight, half["proj_weight"].float())
    assert torch.equal(found.clip.text_mean, half["text_mean"].float())


# -- stored vectors ---------------------------------------------------------------------------------------------------


def stored(path: Path, texts: object, found: Tensor) -> Path:
    save_file({"vectors": found}, path, metadata={"texts": texts if isinstance(texts, str) else json.dumps(texts)})
    return path


VECTORS = {
    "int8": (["a", "b"], torch.ones(2, 3).to(torch.int8), "its vectors are int8"),
    "bool": (["a", "b"], torch.ones(2, 3) > 0, "its vectors are bool"),
    "complex": (["a", "b"], torch.ones(2, 3) + 1j, "'vectors' is complex64"),
    "1e300": (
        ["a", "b"],
        torch.tensor([[1.0], [1e300]], dtype=torch.float64),
        "the vector of 'b' holds values that are",
    ),
    "flat": (["a", "b"], torch.ones(2), r"2 texts and vectors \[2\]"),
    "no width": (["a", "b"], torch.ones(2, 0), r"2 texts and vectors \[2, 0\]"),
    "fewer": (["a", "b"], torch.ones(1, 3), r"2 texts and vectors \[1, 3\]"),
    "none": ([], torch.ones(0, 3), r"0 texts and vectors \[0, 3\]"),
    "no texts": ({"a": 1, "b": 2}, torch.ones(2, 3), "its texts are no list of texts"),
    "numbers": ([1, 2], torch.ones(2, 3), "its texts are no list of texts"),
    "lists": ([["a"], ["b"]], torch.ones(2, 3), "its texts are no list of texts"),
    "no json": ("not json", torch.ones(2, 3), "not a safetensors file with the tensor `vectors`"),
}


@pytest.mark.parametrize("what", VECTORS)
def test_bad_vectors(what: str, tmp_path: Path):
    texts, found, message = VECTORS[what]
    with refused(rf"v\.safetensors: .*{message}"):
        text_vectors.read(stored(tmp_path / "v.safetensors", texts, found))


TABLES = {
    "int": ({"text": ["a", "b"], "vector": [[1, 2], [3, 4]]}, "its vectors are int64"),
    "bool": ({"text": ["a", "b"], "vector": [[True], [False]]}, "its vectors are bool"),
    "ragged": ({"text": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, "not a table of `text` and `vector`, all of one"),
    "none": ({"text": ["a", "b"], "vector": [[1.0], None]}, "not a table of `text` and `vector`"),
    "none inside": ({"text": ["a", "b"], "vector": [[1.0], [None]]}, "not a table|not finite"),
    "numbers": ({"text": ["a", "b"], "vector": [1.0, 2.0]}, r"2 texts and vectors \[2\]"),
    "texts": ({"text": ["a", "b"], "vector": ["x", "y"]}, "not a table of `text` and `vector`"),
    "no text": ({"text": ["a", None], "vector": [[1.0], [2.0]]}, "its texts are no list of texts"),
    "number text": ({"text": [1, 2], "vector": [[1.0], [2.0]]}, "its texts are no list of texts"),
    "1e300": ({"text": ["a", "b"], "vector": [[1.0], [1e300]]}, "the vector of 'b' holds values that are not finite"),
    "no column": ({"text": ["a"], "vectors": [[1.0]]}, "not a table of `text` and `vector`"),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_bad_table_of_vectors(what: str, tmp_path: Path):
    columns, message = TABLES[what]
    pd.DataFrame(columns).to_parquet(tmp_path / "v.parquet")
    with refused(rf"v\.parquet: .*{message}"):
        text_vectors.read(tmp_path / "v.parquet")


@pytest.mark.parametrize("name", ["v.parquet", "v.safetensors"])
@pytest.mark.parametrize(("content", "said"), [(b"", "it is empty"), (HTML, "it is a web page"), (LFS, "Git LFS")])
def test_a_file_that_holds_no_vectors(name: str, content: bytes, said: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with refused(rf"{name}: not a .*{said}"):
        text_vectors.read(tmp_path / name)


# -- sentence encoders ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_folder(tmp_path_factory.mktemp("encoder") / "text")


def configured(**changes: object) -> bytes:
    return json.dumps({**encoders.BERT, **changes}).encode()


def module(**changes: object) -> dict:
    return {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling", **changes}


TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
ENCODERS: dict[str, tuple[str, bytes, str]] = {
    "config page": ("config.json", HTML, r"config\.json: not JSON.*web page"),
    "config empty": ("config.json", b"", r"config\.json: not JSON.*it is empty"),
    "config list": ("config.json", b"[]", r"config\.json: not JSON.*a dict is wanted"),
    "config bytes": ("config.json", b"\xff\xfe\xfd", r"config\.json: not JSON"),
    "width a text": ("config.json", configured(hidden_size="16"), "hidden_size: '16'; a number above 0 is wanted"),
    "no heads": ("config.json", configured(num_attention_heads=0), "num_attention_heads: 0; a number above 0"),
    "width none": ("config.json", configured(hidden_size=None), "hidden_size: None; a number"),
    "layers true": ("config.json", configured(num_hidden_layers=True), "num_hidden_layers: True; a number"),
    "eps a text": ("config.json", configured(layer_norm_eps="1e-12"), "layer_norm_eps: '1e-12'; a number"),
    "activation list": ("config.json", configured(hidden_act=["gelu"]), "its activation is"),
    "no size": ("config.json", json.dumps({"model_type": "bert"}).encode(), "its config lacks a size"),
    "other width": ("config.json", configured(hidden_size=32), "a checkpoint of another architecture"),
    "tokenizer page": ("tokenizer.json", HTML, r"tokenizer\.json: not a tokenizer.*web page"),
    "tokenizer empty": ("tokenizer.json", b"", r"tokenizer\.json: not a tokenizer.*it is empty"),
    "tokenizer other": ("tokenizer.json", b"{}", r"tokenizer\.json: not a tokenizer"),
    "tokenizer bytes": ("tokenizer.json", b"\xff", r"tokenizer\.json: not a tokenizer"),
    "weights page": ("model.safetensors", HTML, r"model\.safetensors: not a safetensors file.*web page"),
    "weights cut": ("model.safetensors", GOOD[:-4], r"model\.safetensors: not a safetensors file"),
    "weights other": ("model.safetensors", GOOD, "a checkpoint of another architecture"),
    "modules page": ("modules.json", HTML, r"modules\.json: not JSON.*web page"),
    "modules dict": ("modules.json", b"{}", r"modules\.json: not JSON.*a list is wanted"),
    "modules numbers": ("modules.json", b"[1, 2]", r"modules\.json is no list of modules"),
    "modules one": ("modules.json", json.dumps([TRANSFORMER]).encode(), "a chain of Transformer; zsr reads"),
    "modules no path": ("modules.json", json.dumps([TRANSFORMER, module(path=None)]).encode(), "does not say where"),
    "pooling page": ("1_Pooling/config.json", HTML, r"config\.json: not JSON.*web page"),
    "pooling none": ("1_Pooling/config.json", b"{}", "pools by nothing"),
    "length list": ("sentence_bert_config.json", b"[]", r"sentence_bert_config\.json: not JSON.*a dict is wanted"),
    "length text": ("sentence_bert_config.json", b'{"max_seq_length": "9"}', "max_seq_length is '9'"),
}


def bert_with(name: str, change: Callable[[Tensor], Tensor]) -> bytes:
    tensors = encoders.bert_tensors()
    return safe_file({**tensors, name: change(tensors[name])})


WORD = "embeddings.word_embeddings.weight"
ENCODERS |= {
    f"weights {what}": ("model.safetensors", bert_with(WORD, KINDS[what][0]), KINDS[what][1])
    for what in ("int8", "bool", "complex", "float8", "1e300", "nan")
}
ENCODERS["weights twice"] = (
    "model.safetensors",
    safe_file({**encoders.bert_tensors(), f"bert.{WORD}": torch.zeros(2)}),
    "with the prefix 'bert.' and without it",
)


def tower_of(folder: Path) -> sentence_encoder.SentenceTower:
    """As the rule `join` reads and fills it."""
    about, tensors = sentence_encoder.read(lambda name: folder / name, str(folder))
    tower = sentence_encoder.SentenceTower(about)
    dual_parts.fill(tower, tensors, folder, whole=True)
    for name, value in tower.state_dict().items():
        dual_parts.tensor_file.check_finite(name, value, folder)
    return tower


@pytest.mark.parametrize("what", ENCODERS)
def test_a_bad_sentence_encoder(what: str, encoder: Path, tmp_path: Path):
    name, content, message = ENCODERS[what]
    folder = shutil.copytree(encoder, tmp_path / "text")
    (folder / name).write_bytes(content)
    with refused(message) as caught:
        tower_of(folder)
    assert str(folder) in str(caught.value)


def test_a_tokenizer_of_another_model(encoder: Path, tmp_path: Path):
    """It is met where its words are asked; a sentence encoder may name more words than it ever gives."""
    folder = shutil.copytree(encoder, tmp_path / "text")
    about = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    about["model"]["vocab"]["cat"] = 99
    (folder / "tokenizer.json").write_text(json.dumps(about), encoding="utf-8")
    tower = tower_of(folder)
    assert tower.tokenize(["a red dog"])
    with refused("prompt 'cat': the tokenizer gives the id 99, the text tower knows"):
        tower.tokenize(["cat"])


# -- the hub ----------------------------------------------------------------------------------------------------------

HUB = {
    "page": (HTML, "not a config in open_clip's format.*web page"),
    "empty": (b"", "not a config in open_clip's format.*it is empty"),
    "list": (b"[]", "not a config in open_clip's format"),
    "no model": (b"{}", "not a config in open_clip's format"),
    "model a text": (b'{"model_cfg": "ViT"}', "not a config in open_clip's format"),
    "pixels none": (b'{"model_cfg": {}, "preprocess_cfg": null}', "not a config in open_clip's format"),
    "no towers": (b'{"model_cfg": {}}', "not a CLIP, its config has no"),
    "tower a text": (
        json.dumps({"model_cfg": {**TINY, "text_cfg": "clip"}}).encode(),
        "text_cfg: 'clip'; a mapping is wanted",
    ),
    "mean": (
        json.dumps({"model_cfg": TINY, "preprocess_cfg": {"mean": 0.5}}).encode(),
        "says mean: 0.5; three numbers from 0 are wanted",
    ),
    "std": (
        json.dumps({"model_cfg": TINY, "preprocess_cfg": {"std": ["a", "b", "c"]}}).encode(),
        "says std: .*; three numbers from 0 are wanted",
    ),
}


@pytest.mark.parametrize("what", HUB)
def test_a_bad_config_of_the_hub(what: str, cache: Path):
    content, message = HUB[what]
    in_cache(cache, "org/model", {hub.CONFIG: content})
    with refused(message):
        hub_definition({"hub": "org/model", "file": ""})


TOKENIZERS = {
    "page": ({"tokenizer.json": HTML}, r"tokenizer\.json: not a tokenizer.*web page"),
    "empty": ({"tokenizer.json": b""}, r"tokenizer\.json: not a tokenizer.*it is empty"),
    "other": ({"tokenizer.json": b"{}"}, r"tokenizer\.json: not a tokenizer"),
    "about page": ({"tokenizer_config.json": HTML}, r"tokenizer_config\.json: not a mapping in JSON.*web page"),
    "about list": ({"tokenizer_config.json": b"[1]"}, r"tokenizer_config\.json: not a mapping in JSON"),
}


@pytest.mark.parametrize("what", TOKENIZERS)
def test_a_bad_tokenizer_of_the_hub(what: str, cache: Path, encoder: Path):
    changes, message = TOKENIZERS[what]
    files = {"tokenizer.json": (encoder / "tokenizer.json").read_bytes(), "tokenizer_config.json": b"{}"}
    in_cache(cache, f"org/{what.replace(' ', '-')}", files | changes)
    with refused(message):
        tokenizers.make({"kind": "hf", "name": f"org/{what.replace(' ', '-')}"}, context=5)(["a"])


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

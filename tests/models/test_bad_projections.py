"""Bad projections of dual encoders: the mistake is one line that names file and array."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.bad_bytes import HTML, zip_of
from support.bad_weights import GOOD, safe_file
from support.encoders import projection_file
from support.project import refused

from zsr.models import dual_parts
from zsr.models.backbone import Backbone
from zsr.models.kinds.dual import Dual, Tower
from zsr.models.text_vectors import StoredTexts

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


def projected(path: Path) -> Dual:
    """A model of 5 features and 16 dimensions with the projection of a file."""
    clip = Dual(Tower(torch.nn.Identity(), 5, 16), StoredTexts({"texts": 1, "width": 16, "bytes": 1}))
    tokenize = clip.text.tokenize
    backbone = Backbone(clip, mean=[0.5], std=[0.5], image_size=8, embed_dim=16, tokenize=tokenize)
    dual_parts.project(backbone, dual_parts.projection(path), path)
    return clip


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
    assert torch.equal(turned.visual.proj.weight, plain.visual.proj.weight)
    found = projected(tmp_path / "half.safetensors")
    assert torch.equal(found.visual.proj.weight, half["proj_weight"].float())
    assert torch.equal(found.text_mean, half["text_mean"].float())

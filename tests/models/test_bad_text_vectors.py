"""Bad files of stored text vectors: the mistake is one line that names the file."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from support.bad_bytes import HTML, LFS
from support.project import refused
from torch import Tensor

from zsr.models import text_vectors


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

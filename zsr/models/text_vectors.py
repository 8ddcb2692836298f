"""Stored text vectors in place of a text encoder: those that any encoder made of some prompts, and no others.

A parquet file with the columns `text` and `vector`, or a safetensors file with the tensor `vectors` [T, D] and the list
of texts as JSON under the key `texts` of its metadata. The texts are kept beside the vectors in the backbone's weights.
"""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models import tensor_file
from zsr.models.byte_tensors import packed, unpacked
from zsr.storage.unreadable import reading


class StoredTexts(nn.Module):
    """Rows [P, 1] -> their vectors [P, D]."""

    vectors: Tensor
    texts: Tensor

    def __init__(self, about: dict) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(about["texts"], about["width"]))
        self.register_buffer("texts", torch.zeros(about["bytes"], dtype=torch.uint8))

    def forward(self, rows: Tensor) -> Tensor:
        return self.vectors[rows[:, 0]]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(json.loads(unpacked(self.texts)))}

    def tokenize(self, prompts: list[str]) -> list[list[int]]:
        """The row of each prompt; one that has no vector is refused."""
        for prompt in prompts:
            if prompt not in self._row_of:
                raise ZsrError(f"prompt '{prompt}': no vector of it is stored; add it to the file of `vectors`")
        return [[self._row_of[prompt]] for prompt in prompts]


def read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """(what rebuilds the module, its tensors) of a file."""
    texts, stored = _parquet(path) if path.suffix == ".parquet" else _safetensors(path)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ZsrError(f"{path}: its texts are no list of texts; give each vector one")
    if not texts or stored.ndim != 2 or len(stored) != len(texts) or not stored.shape[1]:
        raise ZsrError(f"{path}: {len(texts)} texts and vectors {list(stored.shape)}; give each text one vector")
    if twice := len(texts) - len(set(texts)):
        raise ZsrError(f"{path}: {twice} texts stand twice; each needs one vector")
    if stored.dtype not in tensor_file.FLOATS:
        raise ZsrError(f"{path}: its vectors are {tensor_file.kind_of(stored)}; {tensor_file.CURE}")
    vectors = stored.float()
    if not torch.isfinite(vectors).all():
        row = int((~torch.isfinite(vectors)).any(1).nonzero()[0])
        raise ZsrError(
            f"{path}: the vector of '{texts[row]}' holds values that are not finite in float32; encode it again"
        )
    content = packed(json.dumps(texts, ensure_ascii=False).encode())
    about = {"texts": len(texts), "width": vectors.shape[1], "bytes": len(content)}
    return about, {"vectors": vectors.contiguous(), "texts": content}


def _parquet(path: Path) -> tuple[list, Tensor]:
    import pyarrow.parquet as pq

    with reading(path, "a table of `text` and `vector`, all of one length"):
        table = pq.read_table(path, columns=["text", "vector"])
        rows = np.array(table.column("vector").to_pylist())
        return table.column("text").to_pylist(), torch.from_numpy(rows)


def _safetensors(path: Path) -> tuple[list, Tensor]:
    with reading(path, "a safetensors file with the tensor `vectors`"), safe_open(path, "pt") as file:
        texts, vectors = json.loads((file.metadata() or {}).get("texts", "[]")), file.get_tensor("vectors")
    return texts, tensor_file.check_plain({"vectors": vectors}, path)["vectors"]

"""Stored text vectors in place of a text encoder: what any encoder once made of some prompts, and of no others.

A parquet file with the columns `text` and `vector`, or a safetensors file with the tensor `vectors` [T, D] and the list
of texts as JSON under the key `texts` of its metadata. The texts are kept beside the vectors in the backbone's weights.
"""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.letters import packed, unpacked


class StoredTexts(nn.Module):
    """Places [P, 1] -> their vectors [P, D]."""

    def __init__(self, about: dict) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(about["texts"], about["width"]))
        self.register_buffer("texts", torch.zeros(about["bytes"], dtype=torch.uint8))

    def forward(self, places: Tensor) -> Tensor:
        return self.vectors[places[:, 0]]

    @cached_property
    def _place(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(json.loads(unpacked(self.texts)))}

    def tokenize(self, prompts: list[str]) -> list[list[int]]:
        """The place of each prompt; nothing is guessed for one that has no vector."""
        for prompt in prompts:
            if prompt not in self._place:
                raise ZsrError(f"prompt '{prompt}': no vector of it is stored; add it to the file of `vectors`")
        return [[self._place[prompt]] for prompt in prompts]


def read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """(what rebuilds the module, its tensors) of a file."""
    texts, vectors = _parquet(path) if path.suffix == ".parquet" else _safetensors(path)
    if not texts or vectors.ndim != 2 or len(vectors) != len(texts):
        raise ZsrError(f"{path}: {len(texts)} texts and vectors {list(vectors.shape)}; give each text one vector")
    if twice := len(texts) - len(set(texts)):
        raise ZsrError(f"{path}: {twice} texts stand twice; each needs one vector")
    if not torch.isfinite(vectors).all():
        row = int((~torch.isfinite(vectors)).any(1).nonzero()[0])
        raise ZsrError(f"{path}: the vector of '{texts[row]}' holds values that are not finite")
    content = packed(json.dumps(texts, ensure_ascii=False).encode())
    about = {"texts": len(texts), "width": vectors.shape[1], "bytes": len(content)}
    return about, {"vectors": vectors.float().contiguous(), "texts": content}


def _parquet(path: Path) -> tuple[list[str], Tensor]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["text", "vector"])
        rows = table.column("vector").to_pylist()
        return table.column("text").to_pylist(), torch.from_numpy(np.array(rows, np.float32))
    except (pyarrow.ArrowException, KeyError, ValueError, TypeError) as error:
        said = str(error).partition("\n")[0]
        raise ZsrError(f"{path}: not a table of `text` and `vector`, all of one length ({said})") from error


def _safetensors(path: Path) -> tuple[list[str], Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get("texts", "[]")), file.get_tensor("vectors")
    except (SafetensorError, ValueError) as error:
        raise ZsrError(f"{path}: not a safetensors file with the tensor `vectors` ({error})") from error

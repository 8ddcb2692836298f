"""Reads and runs sentence encoders of the BERT family (such as all-MiniLM-L6-v2) from their files on the hub.

A folder in the layout of sentence-transformers: config.json, tokenizer.json, model.safetensors, modules.json and the
config of the pooling. The tokenizer's file becomes a tensor of the model, so that a backbone is one file.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.bert import Bert, BertShape, tensors_of
from zsr.models.byte_tensors import packed, unpacked
from zsr.models.tensor_file import check_plain, load
from zsr.storage.unreadable import reading

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONFIG, TOKENIZER, WEIGHTS, MODULES = "config.json", "tokenizer.json", "model.safetensors", "modules.json"
LENGTH = "sentence_bert_config.json"
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}

Find = Callable[[str], Path]  # the name of a file of the folder -> its path
J = TypeVar("J", dict, list)


class SentenceTower(nn.Module):
    """Token ids [P, L], zero-padded by `pad` -> sentence vectors [P, D], not of unit length."""

    tokenizer: Tensor  # the bytes of its file

    def __init__(self, about: dict) -> None:
        super().__init__()
        self.bert = Bert(BertShape(**about["bert"]))
        self.pooling, self.pad, self.context, self.lower = (about[k] for k in ("pooling", "pad", "context", "lower"))
        self.register_buffer("tokenizer", torch.zeros(about["bytes"], dtype=torch.uint8))

    def forward(self, ids: Tensor) -> Tensor:
        mask = ids != self.pad  # [P, L]
        states = self.bert(ids, mask)
        if self.pooling == "cls":
            return states[:, 0]
        weights = mask[:, :, None].to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    @cached_property
    def _encode(self) -> Callable[[str], list[int]]:
        read = tokenizer_of(unpacked(self.tokenizer), TOKENIZER)
        read.no_truncation()
        read.no_padding()
        return lambda prompt: read.encode(prompt.lower() if self.lower else prompt).ids

    def tokenize(self, prompts: list[str]) -> list[list[int]]:
        """Ids, as long as the longest prompt. One that does not fit is an error, never cut."""
        rows = [self._encode(prompt) for prompt in prompts]
        for prompt, row in zip(prompts, rows, strict=True):
            if len(row) > self.context:
                raise ZsrError(f"prompt '{prompt}': {len(row)} tokens, the text tower takes {self.context}; shorten it")
            if max(row, default=0) >= self.bert.shape.vocab_size:
                raise ZsrError(
                    f"prompt '{prompt}': the tokenizer gives the id {max(row)}, the text tower knows "
                    f"{self.bert.shape.vocab_size} words; {TOKENIZER} is of another model"
                )
        longest = max(map(len, rows), default=0)
        return [row + [self.pad] * (longest - len(row)) for row in rows]


def read(find: Find, where: str) -> tuple[dict, dict[str, Tensor]]:
    """(what rebuilds the tower, its tensors) of a folder or a hub repository; `find` raises where a file is missing."""
    config, content = _json(find(CONFIG), where, dict), find(TOKENIZER).read_bytes()
    tokenizer_of(content, f"{where}: {TOKENIZER}")  # read again when it is asked, hours later
    shape = BertShape.of(config, where)
    pooling = _pooling(find, where)
    length = _length(find, where)
    path = find(WEIGHTS)
    stored = check_plain(load(path), path)
    about = {
        "bert": shape.plain(),
        "pooling": pooling,
        "pad": config.get("pad_token_id") or 0,
        "context": min(length.get("max_seq_length") or shape.max_position_embeddings, shape.max_position_embeddings),
        "lower": bool(length.get("do_lower_case")),
        "bytes": len(content),
    }
    tensors = {f"bert.{name}": value for name, value in tensors_of(stored, path).items()}
    return about, {**tensors, "tokenizer": packed(content)}


def pooling_file(modules: list[dict], where: str) -> str:
    """Where the pooling's config lies; a module that does more than pool or normalise is refused."""
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ZsrError(f"{where}: {MODULES} is no list of modules; get it again")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    extra = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if extra or kinds[:2] != ["Transformer", "Pooling"]:
        raise ZsrError(f"{where}: a chain of {', '.join(kinds)}; zsr reads Transformer, Pooling and Normalize")
    if not isinstance(modules[1].get("path"), str):
        raise ZsrError(f"{where}: {MODULES} does not say where the config of the pooling lies; get it again")
    return f"{modules[1]['path']}/{CONFIG}"


def _pooling(find: Find, where: str) -> str:
    says = _json(find(pooling_file(_json(find(MODULES), where, list), where)), where, dict)
    modes = [key for key, value in says.items() if key.startswith("pooling_mode_") and value is True]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ZsrError(f"{where}: pools by {' and '.join(modes) or 'nothing'}; zsr knows {' or '.join(POOLINGS)}")
    return POOLINGS[modes[0]]


def _length(find: Find, where: str) -> dict:
    """The longest sentence that the encoder was trained with; folders without this file are as long as positions go."""
    try:
        path = find(LENGTH)
    except ZsrError:
        return {}
    says = _json(path, where, dict)
    longest = says.get("max_seq_length")
    if longest is not None and (not isinstance(longest, int) or longest < 1):
        raise ZsrError(f"{where}: {LENGTH}: max_seq_length is {longest!r}, a number of tokens is wanted")
    return says


def tokenizer_of(content: bytes, where: str) -> "Tokenizer":
    """The tokenizer of a tokenizer.json."""
    from tokenizers import Tokenizer  # 0.1 s, which cells never need

    with reading(where, "a tokenizer of the library tokenizers", content=content):
        return Tokenizer.from_str(content.decode())


def _json(path: Path, where: str, kind: type[J]) -> J:
    """The content of a JSON file, which must be of this kind."""
    content = path.read_bytes()
    with reading(f"{where}: {path.name}", "JSON", content=content):
        value = json.loads(content)
        if not isinstance(value, kind):
            raise TypeError(f"it holds a {type(value).__name__}, a {kind.__name__} is wanted")
        return value

"""Sentence encoders of the BERT family (all-MiniLM-L6-v2 and its like), read from the files that the hub keeps of them.

A folder in the layout of sentence-transformers: config.json, tokenizer.json, model.safetensors, modules.json and the
config of the pooling. The tokenizer's file becomes a tensor of the model, so that a backbone is one file.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.bert import Bert, BertShape, tensors_of
from zsr.models.letters import packed, unpacked

CONFIG, TOKENIZER, WEIGHTS, MODULES = "config.json", "tokenizer.json", "model.safetensors", "modules.json"
LENGTH = "sentence_bert_config.json"
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}

Find = Callable[[str], Path]  # the name of a file of the folder -> where it lies


class SentenceTower(nn.Module):
    """Token ids [P, L], zero-padded by `pad` -> sentence vectors [P, D], not of unit length."""

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
        from tokenizers import Tokenizer  # 0.1 s, which cells never need

        read = Tokenizer.from_str(unpacked(self.tokenizer).decode())
        read.no_truncation()
        read.no_padding()
        return lambda prompt: read.encode(prompt.lower() if self.lower else prompt).ids

    def tokenize(self, prompts: list[str]) -> list[list[int]]:
        """Ids, as long as the longest prompt. One that does not fit is an error, never cut."""
        rows = [self._encode(prompt) for prompt in prompts]
        for prompt, row in zip(prompts, rows, strict=True):
            if len(row) > self.context:
                raise ZsrError(f"prompt '{prompt}': {len(row)} tokens, the text tower takes {self.context}; shorten it")
        longest = max(map(len, rows), default=0)
        return [row + [self.pad] * (longest - len(row)) for row in rows]


def read(find: Find, where: str) -> tuple[dict, dict[str, Tensor]]:
    """(what rebuilds the tower, its tensors) of a folder or a hub repository; `find` raises where a file is missing."""
    config, content = _json(find(CONFIG), where), find(TOKENIZER).read_bytes()
    shape = BertShape.of(config, where)
    pooling = _pooling(find, where)
    length = _length(find, where)
    try:
        found = load_file(find(WEIGHTS))
    except SafetensorError as error:
        raise ZsrError(f"{where}: {WEIGHTS}: not a safetensors file, or cut off ({error}); fetch it again") from error
    about = {
        "bert": shape.plain(),
        "pooling": pooling,
        "pad": config.get("pad_token_id") or 0,
        "context": min(length.get("max_seq_length") or shape.max_position_embeddings, shape.max_position_embeddings),
        "lower": bool(length.get("do_lower_case")),
        "bytes": len(content),
    }
    tensors = {f"bert.{name}": value for name, value in tensors_of(found).items()}
    return about, {**tensors, "tokenizer": packed(content)}


def pooling_file(modules: list[dict], where: str) -> str:
    """Where the pooling's config lies; a module that does more than pool or normalise is refused."""
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    extra = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if extra or kinds[:2] != ["Transformer", "Pooling"]:
        raise ZsrError(f"{where}: a chain of {', '.join(kinds)}; zsr reads Transformer, Pooling and Normalize")
    return f"{modules[1]['path']}/{CONFIG}"


def _pooling(find: Find, where: str) -> str:
    says = _json(find(pooling_file(_json(find(MODULES), where), where)), where)
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
    return _json(path, where)


def _json(path: Path, where: str) -> dict | list:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ZsrError(f"{where}: {path.name} is not JSON ({error})") from error

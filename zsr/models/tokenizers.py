"""Tokenizers of real CLIPs. A prompt that does not fit is an error and is never cut: a class name must stay whole.

CLIP's own is open_clip's, whose vocabulary ships in its package. Those of the Hugging Face hub are read from
`tokenizer.json` by the library `tokenizers`, without transformers.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from zsr.errors import ZsrError
from zsr.models.open_clip_light import part
from zsr.storage.unreadable import reading

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Tokenize = Callable[[list[str]], list[list[int]]]
PADS = ("<pad>", "[PAD]", "</s>")  # where tokenizer_config.json does not say which token pads


def make(about: dict, context: int) -> Tokenize:
    """prompts -> ids [P, context]; nothing is read before the first prompt comes, cells never need one."""
    makers = {"clip": _clip, "hf": _hub}
    settings = {key: value for key, value in about.items() if key != "kind"}

    def tokenize(prompts: list[str]) -> list[list[int]]:
        encode, pad = makers[about["kind"]](**settings)
        rows = []
        for prompt in prompts:
            ids = encode(prompt)
            if len(ids) > context:
                raise ZsrError(f"prompt '{prompt}': {len(ids)} tokens, the text tower takes {context}; shorten it")
            rows.append(ids + [pad] * (context - len(ids)))
        return rows

    return tokenize


@cache
def _clip(clean: str = "lower") -> tuple[Callable[[str], list[int]], int]:
    known = part("tokenizer").SimpleTokenizer(clean=clean)
    return (lambda prompt: [known.sot_token_id, *known.encode(prompt), known.eot_token_id]), 0


@cache
def _hub(name: str, clean: str = "whitespace", strip_sep_token: bool = False) -> tuple[Callable[[str], list[int]], int]:
    from zsr.models.hub import find

    read = _tokenizer(find(name, "tokenizer.json"))
    read.no_truncation()
    read.no_padding()
    about = find(name, "tokenizer_config.json")
    with reading(about, "a mapping in JSON"):
        says = dict(json.loads(about.read_text(encoding="utf-8")))
    pad = _pad(read, says, name)
    separator = read.token_to_id(_text(says.get("sep_token"))) if strip_sep_token else None
    cleaned = part("tokenizer").get_clean_fn(clean)

    def encode(prompt: str) -> list[int]:
        ids = read.encode(cleaned(prompt)).ids
        return [0 if i == separator else i for i in ids] if separator is not None else ids

    return encode, pad


def _tokenizer(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    with reading(path, "a tokenizer of the library tokenizers"):
        return Tokenizer.from_file(str(path))


def _pad(read: "Tokenizer", says: dict, name: str) -> int:
    for token in (_text(says.get("pad_token")), *PADS):
        if token and (number := read.token_to_id(token)) is not None:
            return number
    raise ZsrError(f"tokenizer {name}: names no padding token; zsr cannot make prompts of equal length")


def _text(token: object) -> str:
    """The text of a special token, which tokenizer_config.json gives as text or as a mapping with `content`."""
    return (token or {}).get("content", "") if isinstance(token, dict) else str(token or "")

"""Hashes of values, files and folders: one spelling of each, so that equal things have equal hashes."""

import hashlib
import json
from pathlib import Path

from zsr.errors import ZsrError

# the files of a sentence encoder, in the layout of sentence-transformers
ENCODER_FILES = ("1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json")
OPTIONAL_ENCODER_FILES = ("sentence_bert_config.json",)


def canonical(value: object) -> str:
    """JSON with one spelling: sorted keys, no blanks; floats keep their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def short_hash(text: str) -> str:
    """20 hex digits of sha256: no two specs of any study collide, and a person can still compare them."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def file_digest(path: Path) -> str:
    """sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encoder_digest(folder: Path) -> str:
    """One sha256 for the files of a sentence encoder that zsr reads; others may lie beside them."""
    lacking = [name for name in ENCODER_FILES if not (folder / name).is_file()]
    if lacking:
        raise ZsrError(f"{folder}: not a sentence encoder in the layout of sentence-transformers, no {lacking[0]}")
    names = [name for name in sorted((*ENCODER_FILES, *OPTIONAL_ENCODER_FILES)) if (folder / name).is_file()]
    return hashlib.sha256("".join(f"{file_digest(folder / name)}  {name}\n" for name in names).encode()).hexdigest()

"""Writes results atomically and reads the record of each, which holds its spec and digests; checks both before use."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zsr.errors import ZsrError
from zsr.hashing import file_digest

REPAIR = "run `zsr repair` to remove it, then snakemake to make it again"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed onto it when the block ends well and removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write JSON through a temporary name; NaN is a mistake, not a number."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < math.inf


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


# what every record says -> whether it is of the right kind
FIELDS = {
    "spec_hash": lambda value: isinstance(value, str),
    "spec": lambda value: isinstance(value, dict),
    "digests": _are_texts,
    "seconds": _is_seconds,
    "versions": _are_texts,
    "code_files": _are_texts,
}


class Record(dict):
    """The fields of a record; a missing one is an error of its file, not a KeyError."""

    def __init__(self, path: Path, fields: object) -> None:
        if not isinstance(fields, dict):
            raise TypeError(type(fields).__name__)
        super().__init__(fields)
        self.path = path

    def __missing__(self, name: str) -> object:
        raise ZsrError(f"{self.path}: not a record of zsr, it has no '{name}'; {REPAIR}")


def read_record(path: Path, spec_hash: str | None = None) -> dict:
    """The JSON record of a result; refused by name if it is missing, damaged, or of another spec."""
    if not path.is_file():
        raise ZsrError(f"{path}: missing; run snakemake to make it")
    try:
        record = Record(path, json.loads(path.read_text(encoding="utf-8")))
        whole = record["seal"] == seal(record)
    except (ValueError, TypeError, RecursionError) as error:
        raise ZsrError(f"{path}: not a record of zsr ({type(error).__name__}); {REPAIR}") from error
    if not whole:
        raise ZsrError(f"{path}: its content does not match its seal, it was changed after it was made; {REPAIR}")
    if wrong := [name for name, right in FIELDS.items() if name in record and not right(record[name])]:
        raise ZsrError(f"{path}: not a record of zsr, its '{wrong[0]}' is something else; {REPAIR}")
    if "digests" in record:
        record["digests"] = Record(path, record["digests"])
    made_for = record["spec_hash"]
    if spec_hash is not None and made_for != spec_hash:
        raise ZsrError(f"{path}: stale, made for spec {made_for}, the plan asks for {spec_hash}; {REPAIR}")
    return record


def seal(record: dict) -> str:
    """A hash of everything in a record but its seal, so a changed byte in the record itself is found too."""
    text = json.dumps({key: value for key, value in record.items() if key != "seal"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_digest(path: Path, wanted: str) -> Path:
    """Refuse a file whose bytes are not those that its record names."""
    if not path.is_file():
        raise ZsrError(f"{path}: missing, though its record is there; {REPAIR}")
    if file_digest(path) != wanted:
        raise ZsrError(f"{path}: damaged, its bytes are not those that were written; {REPAIR}")
    return path

"""Prepare a miniature split outside of Snakemake, as the job `prepare` does."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from support.archives import KEYS
from zsr import registry
from zsr.config.datasets import definition, source_of
from zsr.config.entries import DatasetDefinition
from zsr.data import prepared
from zsr.hashing import canonical, file_digest, short_hash


def define(name: str, **changes: object) -> DatasetDefinition:
    """The dataset with the miniature's classes and sizes, and with checksums that fit no miniature taken out."""
    entry: dict[str, object] = {"name": "mini", "like": name}
    if name in KEYS:
        entry |= {"classes": [f"class {i}" for i in range(len(KEYS[name]))], "keys": KEYS[name]}
    found = definition([{**entry, **changes}], "mini", "test")
    plain = tuple(file._replace(md5=None, sha256=None, bytes=None) for file in found.files)
    return found if "files" in changes else replace(found, files=plain)


def spec_of(found: DatasetDefinition, split: str, transform: str, count: int | None, limit: float = 100) -> dict:
    """The spec of the preparation."""
    found = replace(found, splits={**found.splits, split: count or found.splits[split]})
    base = {
        "reader": found.reader,
        "options": found.options,
        "split": split,
        "count": count,
        "transform": transform,
    }
    return {**base, **source_of(found, split, transform, limit)}


def run(spec: dict, out: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Images, labels and facts of the prepared split."""
    out.mkdir(parents=True, exist_ok=True)
    reader = registry.load("data/readers", spec["reader"])(**spec["options"])
    images, labels = out / "images.npy", out / "labels.npy"
    facts, _ = reader.prepare(spec, images, labels, short_hash(canonical(spec)))
    record = {**facts, "spec": spec, "digests": {"images": file_digest(images), "labels": file_digest(labels)}}
    return *prepared.read(images, record), facts


def prepare(
    name: str,
    split: str,
    count: int | None,
    out: Path,
    transform: str = "native",
    limit: float = 100,
    **changes: object,
) -> tuple[np.ndarray, np.ndarray, dict]:
    """A miniature that lies below ZSR_DATA."""
    return run(spec_of(define(name, **changes), split, transform, count, limit), out)

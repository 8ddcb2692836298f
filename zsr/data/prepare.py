"""Prepares one split that lies in files: from its archives to the arrays."""

import hashlib
import os
from pathlib import Path

from zsr.data.cpu_count import usable_cpus
from zsr.data.decode import fill
from zsr.data.pack import pack
from zsr.data.packed import side_of
from zsr.data.pictures import Pictures, check_labels
from zsr.data.prepared import range_of, save_labels
from zsr.data.sources import Sources
from zsr.data.transforms import parse
from zsr.errors import ZsrError
from zsr.hashing import canonical, short_hash


def prepare(
    pictures: Pictures, sources: Sources, spec: dict, images: Path, labels: Path, key: str
) -> tuple[dict, list[str] | None]:
    """Check the pictures, then decode (or pack) them; returns what the manifest says, and captions."""
    source = spec["source"]
    transform = parse(spec["transform"])
    if spec["encoded"]:
        side_of(transform)
    where = f"{sources.folder} ({spec['split']})"
    if source["classes"] or not pictures.captions:  # captions alone need no classes
        check_labels(pictures, source["classes"], where)
    if source["half"]:
        pictures = pictures.within(*source["half"])
    count = len(pictures.labels)
    if not count:
        raise ZsrError(f"{where}: holds no picture of these classes")
    if spec["count"] is not None and count != spec["count"]:
        raise ZsrError(
            f"{where}: holds {count} images, the dataset's definition promises {spec['count']}; correct its `splits`, "
            "or get the archive again"
        )
    workers = int(os.environ.get("ZSR_WORKERS") or usable_cpus())
    if spec["encoded"]:
        facts = pack(pictures, transform, images, labels, workers)
    else:
        facts = fill(pictures, transform, images, same_work(key, pictures, sources), workers)
        save_labels(labels, pictures.labels)
    facts = {"count": count, **facts, "labels": range_of(pictures.labels), "files": dict(sorted(sources.used.items()))}
    facts["states"] = dict(sorted(sources.states.items()))
    return facts, pictures.captions


def same_work(key: str, pictures: Pictures, sources: Sources) -> str:
    """A key of this spec with these pictures in these rows: only unfinished decoding of the same key is continued."""
    labels = hashlib.sha256(pictures.labels.tobytes()).hexdigest()
    return short_hash(canonical([key, sources.used, pictures.listing, labels]))

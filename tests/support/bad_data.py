"""A dataset of the user's own, prepared outside of Snakemake: what goes wrong is one line, and no result is left."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from support import archives
from support.preparing import run, spec_of
from support.project import refused
from zsr.config.datasets import definition
from zsr.config.entries import DatasetDefinition

CLASSES = ["cat", "dog"]


def folders(root: Path, extra: dict[str, bytes] | None = None) -> DatasetDefinition:
    """A dataset of the user's own: two class folders of PNGs, and more files; returns what the config says of it."""
    files = {
        "cat/1.png": archives.picture(1, kind="PNG"),
        "dog/1.png": archives.picture(2, kind="PNG"),
        **(extra or {}),
    }
    for name, content in files.items():
        path = root / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    pictures = [name for name in files if name.lower().endswith((".png", ".jpg", ".gif", ".tif"))]
    return own(count=len(pictures))


def own(reader: str = "folder", count: int = 2, **changes: object) -> DatasetDefinition:
    entry = {"name": "own", "reader": reader, "splits": {"test": count}, "classes": CLASSES, **changes}
    if reader == "folder" and "options" not in changes:
        entry["options"] = {"inside": ""}
    return definition([entry], "own", "test")


def prepare_test(
    found: DatasetDefinition, out: Path, transform: str = "16-bilinear", count: int | None = -1, **changes: object
):
    """Images, labels and facts of its test split; `count` is how many images the definition promises."""
    count = found.splits["test"] if count == -1 else count
    return run(spec_of(found, "test", transform, count) | changes, out)


def fails(found: DatasetDefinition, out: Path, match: str, **changes: object) -> None:
    """One line that says `match`, and no result."""
    with refused(match):
        prepare_test(found, out, **changes)
    assert not (out / "labels.npy").exists()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def table(path: Path, labels: list, **columns: object) -> Path:
    """One file of pictures with labels as Hugging Face writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [archives.picture(i, kind="PNG") for i in range(len(labels))]
    pq.write_table(pa.table({"image": pictures, "label": labels, **columns}), path)
    return path

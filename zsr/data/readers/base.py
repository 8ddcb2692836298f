"""What a reader is: settings in, chunks of images out. It writes no file and knows no path of results."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zsr.errors import ZsrError


class Chunk(NamedTuple):
    """Some images in the order of the split. Captions exist where a model is pretrained on them."""

    images: np.ndarray  # [n, 3, H, W] uint8
    labels: np.ndarray  # [n] int64, from 0, places in the dataset's `classes`
    captions: list[str] | None = None  # alternatives of one image are separated by ' | '


def check_chunk(chunk: Chunk) -> Chunk:
    """Refuse what a reader of one's own may give by mistake."""
    images = np.asarray(chunk.images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3 or not all(images.shape[2:]):
        raise ZsrError(f"a reader gave images of {images.dtype} {images.shape}; uint8 [n, 3, H, W] is wanted")
    counts = [len(images), len(chunk.labels), *([] if chunk.captions is None else [len(chunk.captions)])]
    if len(set(counts)) > 1:
        raise ZsrError(f"a reader gave a chunk of {counts} images, labels (and captions); as many of each are wanted")
    if not all(isinstance(caption, str) and caption.strip() for caption in chunk.captions or ()):
        raise ZsrError("a reader gave a caption that is empty or no text; give each image a text")
    return chunk._replace(images=images)


@dataclass(frozen=True)
class Reader:
    """Base of all readers: the same settings give the same bytes, in every run and on every machine."""

    seed: int = 0

    def prepare(self, spec: dict, images: Path, labels: Path, key: str) -> tuple[dict, list[str] | None]:
        """Write the arrays of the split that `spec` names; returns what the manifest says, and captions.

        `key` is the spec's hash: work that was interrupted goes on only where it is the same work.
        """
        from zsr import arrays
        from zsr.data.transforms import parse

        chunks = self.read(spec["split"])
        transform = parse(spec["transform"])
        if transform.side is not None:
            chunks = (chunk._replace(images=transform.batch(check_chunk(chunk).images)) for chunk in chunks)
        return arrays.write(chunks, spec["count"], images, labels)

    def read(self, split: str) -> Iterator[Chunk]:
        """The images of a split, as many as its definition promises or more."""
        raise TypeError(f"{type(self).__name__} reads nothing")

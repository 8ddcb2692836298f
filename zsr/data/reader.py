"""The base of readers: from their settings they make chunks of images; they know no path of results."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zsr.data.prepared import Chunk, check_chunk, write
from zsr.data.transforms import parse


@dataclass(frozen=True)
class Reader:
    """Base of all readers: the same settings give the same bytes, in every run and on every machine."""

    seed: int = 0

    def prepare(self, spec: dict, images: Path, labels: Path, key: str) -> tuple[dict, list[str] | None]:
        """Write the arrays of the split that `spec` names; returns what the manifest says, and captions.

        `key` is the spec's hash: work that was interrupted goes on only where it is the same work.
        """
        chunks = self.read(spec["split"])
        transform = parse(spec["transform"])
        if transform.side is not None:
            chunks = (chunk._replace(images=transform.batch(check_chunk(chunk).images)) for chunk in chunks)
        return write(chunks, spec["count"], images, labels)

    def read(self, split: str) -> Iterator[Chunk]:
        """The images of a split, as many as its definition promises or more."""
        raise TypeError(f"{type(self).__name__} reads nothing")

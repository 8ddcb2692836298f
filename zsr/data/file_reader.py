"""The base of readers whose images lie in files: archives, folders, tables of encoded pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from zsr.data.pictures import Pictures
from zsr.data.prepare import prepare
from zsr.data.reader import Reader
from zsr.data.sources import Sources
from zsr.errors import ZsrError


@dataclass(frozen=True)
class FileReader(Reader):
    """Subclasses define `open` instead of `read`."""

    from_files: ClassVar[bool] = True

    def open(self, split: str, sources: Sources) -> Pictures:
        """The pictures of a split."""
        raise TypeError(f"{type(self).__name__} opens nothing")

    def prepare(self, spec: dict, images: Path, labels: Path, key: str) -> tuple[dict, list[str] | None]:
        """Open the split, then check and decode (or pack) its pictures."""
        sources = Sources.of(spec["source"])
        try:
            return prepare(self.open(spec["split"], sources), sources, spec, images, labels, key)
        except ZsrError:
            sources.distrust()
            raise

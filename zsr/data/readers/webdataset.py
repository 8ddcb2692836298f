"""WebDataset shards: tars in which the files of one sample share a name up to its first dot."""

import posixpath
from dataclasses import dataclass
from pathlib import Path

from zsr.data.archives import Tar
from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of_text
from zsr.data.pictures import Entry, Pictures, from_trees
from zsr.data.sources import Sources
from zsr.errors import ZsrError


@dataclass(frozen=True)
class Webdataset(FileReader):
    """`shards`: a pattern in the dataset's folder, `{split}` stands for the split; `a-{000..012}.tar` works too."""

    shards: str = "{split}/*.tar"
    image: tuple = ("jpg", "jpeg", "png", "webp")
    label: str = "cls"

    def open(self, split: str, sources: Sources) -> Pictures:
        entries = []
        for path in self._paths(split, sources):
            tree = Tar(path)
            texts = {n: c for n, c in tree.stream([n for n in tree.names if n.endswith(f".{self.label}")])}
            pictures: dict[str, str] = {}
            for name in sorted(n for n in tree.names if extension(n) in self.image):
                if pictures.setdefault(sample(name), name) != name:
                    raise ZsrError(
                        f"{path}: '{pictures[sample(name)]}' and '{name}' are images of one sample; name the kind that "
                        "is meant in `image` of `options`"
                    )
            for name in sorted(texts):
                if sample(name) not in pictures:
                    raise ZsrError(f"{path}: '{name}' has no image ({', '.join(self.image)})")
                entries.append(Entry(tree, pictures.pop(sample(name)), label_of_text(texts[name], f"{path}: {name}")))
            if pictures:
                raise ZsrError(f"{path}: '{next(iter(pictures.values()))}' has no label (.{self.label})")
        return from_trees(entries)

    def _paths(self, split: str, sources: Sources) -> list[Path]:
        """The shards of a split, in order."""
        pattern = self.shards.replace("{split}", split)
        head, brace, rest = pattern.partition("{")
        patterns = [pattern]
        if brace and ".." in rest:
            span, _, tail = rest.partition("}")
            first, _, last = span.partition("..")
            if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
                raise ZsrError(f"reader 'webdataset': '{pattern}' is no range of shards; write a-{{000..012}}.tar")
            patterns = [f"{head}{i:0{len(first)}d}{tail}" for i in range(int(first), int(last) + 1)]
        return [path for one in patterns for path in sources.matching(one, "no such shard")]


def sample(name: str) -> str:
    """`train/0001.seg.png` -> `train/0001`"""
    folder, file = posixpath.split(name)
    return posixpath.join(folder, file.split(".")[0])


def extension(name: str) -> str:
    """All after the first dot of the file's name."""
    return posixpath.basename(name).partition(".")[2].lower()

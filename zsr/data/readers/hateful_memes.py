"""Hateful Memes: a line of JSON per meme, in test_seen.jsonl and test_unseen.jsonl; `test` is both."""

from dataclasses import dataclass

from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of
from zsr.data.lists import json_lines
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError

PARTS = {"test": ("test_seen", "test_unseen"), "train": ("train",), "dev": ("dev_seen", "dev_unseen")}


@dataclass(frozen=True)
class HatefulMemes(FileReader):
    """A meme of both dev parts counts once."""

    archive: str = "hateful_memes.zip"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, PARTS, "hateful-memes")
        tree = sources.tree(self.archive)
        top = next((n.removesuffix("test_seen.jsonl") for n in tree.names if n.endswith("test_seen.jsonl")), "")
        rows: dict[str, int] = {}
        for part in PARTS[split]:
            where = f"{tree.path}: {top}{part}.jsonl"
            for row in json_lines(tree.read(f"{top}{part}.jsonl"), where):
                if not {"img", "label"} <= row.keys():
                    raise ZsrError(f"{where}: the meme {row.get('id', '?')} has no 'img' or no 'label'; get it again")
                rows[f"{top}{row['img']}"] = label_of(row["label"], f"{where}: {row['img']}")
        return from_trees(Entry(tree, name, label) for name, label in rows.items())

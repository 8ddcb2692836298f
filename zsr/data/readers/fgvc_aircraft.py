"""FGVC-Aircraft at the level of variants: data/images_variant_<split>.txt holds `1025794 707-320` lines."""

from dataclasses import dataclass

from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of_name
from zsr.data.lists import rows_of, text_of
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError


@dataclass(frozen=True)
class FgvcAircraft(FileReader):
    """Labels follow data/variants.txt, which must be the dataset's `keys`."""

    archive: str = "fgvc-aircraft-2013b.tar.gz"
    top: str = "fgvc-aircraft-2013b"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "val", "trainval", "test"), "fgvc-aircraft")
        tree = sources.tree(self.archive)
        names = [f"{self.top}/data/{name}.txt" for name in ("variants", f"images_variant_{split}")]
        contents = dict(tree.stream(names))
        if len(contents) < 2:
            raise ZsrError(f"{tree.path}: holds no '{names[0]}' or no '{names[1]}'")
        variants = [
            line.strip()
            for line in text_of(contents[names[0]], f"{tree.path}: {names[0]}").splitlines()
            if line.strip()
        ]
        if sources.keys and variants != sources.keys:
            raise ZsrError(f"{tree.path}: {names[0]} lists other variants than the dataset's definition")
        label = {name: i for i, name in enumerate(variants)}
        where = f"{tree.path}: {names[1]}"
        return from_trees(
            Entry(tree, f"{self.top}/data/images/{row[0]}.jpg", label_of_name(label, row[1], where))
            for row in rows_of(contents[names[1]], 2, where, " ", 1)
        )

"""ImageNet-1k as image-net.org gives it: a tar of tars to train, a flat tar and a devkit to test."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zsr.data.archives import Tar
from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of_text
from zsr.data.lists import matlab
from zsr.data.pictures import Entry, Item, Pictures, from_trees, split_of
from zsr.data.readers.folder import Folder
from zsr.data.sources import Sources
from zsr.errors import ZsrError

TRAIN, VAL, KIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
KIT_FOLDER = "ILSVRC2012_devkit_t12/data/"


@dataclass(frozen=True)
class Imagenet(FileReader):
    """`test` is the official val part. Labels follow the sorted WordNet ids, the dataset's `keys`."""

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "imagenet")
        archive, folder = (TRAIN, "train") if split == "train" else (VAL, "val")
        if sources.present(archive) == "unpacked":
            return from_trees(Folder().entries(sources.tree(archive), folder, sources))
        return self._nested(sources) if split == "train" else self._val(sources)

    def _val(self, sources: Sources) -> Pictures:
        """ILSVRC2012_val_00000001.JPEG …; the truth is a list of ILSVRC ids, which meta.mat maps to WordNet's."""
        tree, kit = sources.tree(VAL), sources.tree(KIT)
        meta = np.atleast_1d(matlab(kit.read(f"{KIT_FOLDER}meta.mat"), "synsets", f"{kit.path}: {KIT_FOLDER}meta.mat"))
        if not {"ILSVRC2012_ID", "WNID"} <= set(meta.dtype.names or ()):
            raise ZsrError(f"{kit.path}: {KIT_FOLDER}meta.mat has no 'ILSVRC2012_ID' or no 'WNID'; get it again")
        wnid = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in meta}
        label = {key: i for i, key in enumerate(sources.keys)}
        listing = f"{KIT_FOLDER}ILSVRC2012_validation_ground_truth.txt"
        truth = [label_of_text(word, f"{kit.path}: {listing}") for word in kit.read(listing).split()]
        names = sorted(name for name in tree.names if name.endswith(".JPEG"))
        if len(names) != len(truth):
            raise ZsrError(f"{tree.path}: {len(names)} images, the devkit knows {len(truth)}")
        unknown = sorted({wnid.get(i, str(i)) for i in truth} - set(label))
        if unknown:
            raise ZsrError(f"{kit.path}: the unknown class '{unknown[0]}'")
        return from_trees(Entry(tree, name, label[wnid[i]]) for name, i in zip(names, truth, strict=True))

    def _nested(self, sources: Sources) -> Pictures:
        """One tar a class inside the tar; two passes: the names, then the images."""
        outer = Tar(sources.file(TRAIN))
        label = {key: i for i, key in enumerate(sources.keys)}
        members = sorted((key, name) for key, inner in self._inner(outer) for name in inner.names)
        lacking = sorted(set(label) ^ {key for key, _ in members})
        if lacking:
            raise ZsrError(f"{outer.path}: {lacking[0]}.tar is missing in it, or no class of ImageNet-1k")
        row = {pair: i for i, pair in enumerate(members)}

        def fetch(rows: np.ndarray) -> Iterator[Item]:
            wanted = {members[i] for i in rows}
            keys = {key for key, _ in wanted}
            for key, inner in self._inner(outer):
                if key in keys:
                    for name, content in inner.stream([n for n in inner.names if (key, n) in wanted]):
                        yield Item(row[key, name], f"{outer.path}: {key}.tar: {name}", content)

        return Pictures(np.array([label[key] for key, _ in members], np.int64), fetch)

    @staticmethod
    def _inner(outer: Tar) -> Iterator[tuple[str, Tar]]:
        for archive, member in outer.members():
            if member.isfile() and member.name.endswith(".tar"):
                yield member.name.removesuffix(".tar").rsplit("/")[-1], Tar(outer.path, archive.extractfile(member))

"""Stanford Cars: two archives of images, the devkit's lists as .mat, and the labels of the test part beside them."""

from dataclasses import dataclass

import numpy as np

from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of
from zsr.data.lists import matlab
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError


@dataclass(frozen=True)
class StanfordCars(FileReader):
    """Labels are the devkit's classes from 1."""

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "stanford-cars")
        if split == "train":
            kit, listing = sources.tree("car_devkit.tgz"), "devkit/cars_train_annos.mat"
            content, where = kit.read(listing), f"{kit.path}: {listing}"
        else:
            listing = "cars_test_annos_withlabels.mat"
            content, where = sources.read(listing), f"{sources.folder / listing}"
        rows = np.asarray(matlab(content, "annotations", where))
        if not {"fname", "class"} <= set(rows.dtype.names or ()):
            raise ZsrError(f"{where}: its annotations have no 'fname' or no 'class'; get it again")
        tree = sources.tree(f"cars_{split}.tgz")
        pairs = [
            (str(row["fname"]), label_of(row["class"], f"{where}: {row['fname']}") - 1) for row in rows.reshape(-1)
        ]
        return from_trees(Entry(tree, f"cars_{split}/{name}", label) for name, label in pairs)

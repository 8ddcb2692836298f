"""Stanford Cars: two archives of images, the devkit's lists as .mat, and the labels of the test part beside them."""

import io
from dataclasses import dataclass

from zsr.data.pictures import Entry, FileReader, Pictures, from_trees, split_of
from zsr.data.sources import Sources


@dataclass(frozen=True)
class StanfordCars(FileReader):
    """Labels are the devkit's classes from 1."""

    def open(self, split: str, sources: Sources) -> Pictures:
        from scipy.io import loadmat

        split_of(split, ("train", "test"), "stanford-cars")
        if split == "train":
            content = sources.tree("car_devkit.tgz").read("devkit/cars_train_annos.mat")
        else:
            content = sources.read("cars_test_annos_withlabels.mat")
        rows = loadmat(io.BytesIO(content), squeeze_me=True)["annotations"]
        tree = sources.tree(f"cars_{split}.tgz")
        pairs = [(str(row["fname"]), int(row["class"]) - 1) for row in rows.reshape(-1)]
        return from_trees(Entry(tree, f"cars_{split}/{name}", label) for name, label in pairs)

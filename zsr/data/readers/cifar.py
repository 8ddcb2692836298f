"""CIFAR-10 and CIFAR-100, the Python archives. Their batches are pickles, and a pickle can run anything: not here."""

import io
import pickle
from dataclasses import dataclass

import numpy as np

from zsr.data.file_reader import FileReader
from zsr.data.labels import labels_of
from zsr.data.pictures import Pictures, from_arrays, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError
from zsr.storage.unreadable import reading

# what an array pickled by numpy 1 or 2 is made of; everything else in the batches is a str, int, list or dict
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
BATCHES = {
    "labels": {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
    "fine_labels": {"train": ["train"], "test": ["test"]},
}


@dataclass(frozen=True)
class Cifar(FileReader):
    """`labels`: the key of the labels in a batch, which tells the two sets apart."""

    archive: str = "cifar-10-python.tar.gz"
    labels: str = "labels"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "cifar")
        if self.labels not in BATCHES:
            raise ZsrError(f"reader 'cifar': labels is one of {', '.join(BATCHES)}, not '{self.labels}'")
        tree = sources.tree(self.archive)
        wanted = BATCHES[self.labels][split]
        names = {name.rsplit("/")[-1]: name for name in tree.names}
        lacking = [batch for batch in wanted if batch not in names]
        if lacking:
            raise ZsrError(f"{tree.path}: holds no '{lacking[0]}'")
        by_name = {
            name: self._batch(restricted(content, f"{tree.path}: {name}"), f"{tree.path}: {name}")
            for name, content in tree.stream([names[batch] for batch in wanted])
        }
        batches = [by_name[names[batch]] for batch in wanted]
        images = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return from_arrays(images, np.concatenate([labels for _, labels in batches]), str(tree.path))

    def _batch(self, batch: object, where: str) -> tuple[np.ndarray, np.ndarray]:
        """(pixels [n, 3072], labels [n]) of what was unpickled."""
        if not isinstance(batch, dict) or not {"data", self.labels} <= batch.keys():
            raise ZsrError(
                f"{where}: not a batch of CIFAR, it has no 'data' or no '{self.labels}'; get the archive again"
            )
        pixels, labels = batch["data"], batch[self.labels]
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3072,):
            raise ZsrError(f"{where}: not a batch of CIFAR, its 'data' is not uint8 [n, 3072]; get the archive again")
        if not isinstance(labels, list | np.ndarray) or len(labels) != len(pixels):
            raise ZsrError(f"{where}: {len(pixels)} images and not as many '{self.labels}'; get the archive again")
        return pixels, labels_of(labels, lambda row: f"{where} [{row}]")


class Restricted(pickle.Unpickler):
    """Admits arrays and builtin values only."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ADMITTED:
            raise ZsrError(f"the pickle asks for {module}.{name}, which no CIFAR batch contains; it is not trusted")
        return super().find_class(module, name)


def restricted(content: bytes, name: str) -> dict:
    """Unpickle a batch."""
    with reading(name, "a batch of CIFAR", "get the archive again", content):
        return Restricted(io.BytesIO(content), encoding="latin1").load()

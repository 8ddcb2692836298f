"""Labels that are no classes: refused in one line that names file and row; no label is cut or rounded."""

import gzip
import io
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import archives
from support.bad_data import fails, own, prepare_test, table
from support.preparing import prepare
from support.project import refused

NOT_LABELS = {
    "fraction": 0.7, "nan": math.nan, "infinite": math.inf, "none": None, "negative": -1, "true": True,
    "list": [1], "beyond int64": 2**63, "mapping": {"a": 1},
}  # fmt: skip
TEXTS = ["0.7", "nan", "", "-1", "[1]", "99999999999999999999", "cat", "1 2"]


@pytest.mark.parametrize("what", NOT_LABELS)
def test_a_label_of_parquet_that_is_no_class(what: str, root: Path, tmp_path: Path):
    value = NOT_LABELS[what]
    table(root / "own/test-0.parquet", [0, 1])
    column = {"list": [[0], [1]], "mapping": [{"a": 0}, {"a": 1}], "true": [True, False]}.get(what, [0, value])
    table(root / "own/test-1.parquet", np.array([0, value], np.uint64) if what == "beyond int64" else column)
    row = 0 if what in ("list", "mapping", "true") else 1
    fails(own("parquet", 4), tmp_path / "out", rf"own/test-1\.parquet: row {row}, column 'label': (the|no) label")


def test_whole_floats_are_labels(root: Path, tmp_path: Path):
    table(root / "own/test.parquet", [1.0, 0.0, 1.0])
    _, labels, _ = prepare_test(own("parquet", 3), tmp_path / "out")
    assert labels.dtype == np.int64 and labels.tolist() == [1, 0, 1]


def test_a_label_without_a_class_is_named(root: Path, tmp_path: Path):
    table(root / "own/test-0.parquet", [0, 1])
    table(root / "own/test-1.parquet", [0, 7])
    fails(own("parquet", 4), tmp_path / "out", r"label of image 3 is 7, .* 2 classes \(.*test-1\.parquet: row 1\)")


def test_texts_beside_numbers_are_refused(root: Path, tmp_path: Path):
    table(root / "own/test-0.parquet", ["cat", "dog"])
    table(root / "own/test-1.parquet", [0, 1])
    fails(own("parquet", 4), tmp_path / "out", r"test-1\.parquet: row 0, .* a number, other labels are texts")


@pytest.mark.parametrize("text", TEXTS)
def test_a_label_of_webdataset_that_is_no_class(text: str, root: Path, tmp_path: Path):
    files = {"a.cls": b"1", "a.jpg": archives.picture(1), "b.cls": text.encode(), "b.jpg": archives.picture(2)}
    archives.tar(root / "own/test/0.tar", files, "w")
    fails(own("webdataset"), tmp_path / "out", r"own/test/0\.tar: b\.cls: the label")


def coop_with(label: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        name = "Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg"
        split = {"train": [], "val": [], "test": [[name, label, "Apply_Eye_Makeup"]]}
        (folder / "split_zhou_UCF101.json").write_text(json.dumps(split), encoding="utf-8")

    return change


def memes_with(label: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        row = json.dumps({"id": 1, "img": "img/00001.png", "label": label}).encode()
        files = {"data/test_seen.jsonl": row, "data/test_unseen.jsonl": b"", "data/img/00001.png": archives.picture(1)}
        archives.zipped(folder / "hateful_memes.zip", files)

    return change


def flowers_with(label: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        labels = np.array([[77, 1, 102, 3, 4, 5]], float if isinstance(label, float) else np.int64)
        labels[0, 5] = label if label is not True else 0
        (folder / "imagelabels.mat").write_bytes(archives.mat(labels=labels))

    return change


def cars_with(label: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        rows = archives.records([{"fname": "00001.jpg", "class": label}, {"fname": "00002.jpg", "class": 1}])
        (folder / "cars_test_annos_withlabels.mat").write_bytes(archives.mat(annotations=rows))

    return change


def cifar_with(labels: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        batch = {"data": np.zeros((3, 3072), np.uint8), "labels": labels}
        content = pickle.dumps(batch, protocol=2)
        archives.tar(folder / "cifar-10-python.tar.gz", {"cifar-10-batches-py/test_batch": content})

    return change


def pets_with(line: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        archives.tar(folder / "annotations.tar.gz", {"annotations/test.txt": b"Abyssinian_2 1 1 1\n" + line})

    return change


def pcam_with(labels: np.ndarray) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        import h5py

        file = io.BytesIO()
        with h5py.File(file, "w") as made:
            made["y"] = labels
        (folder / "camelyonpatch_level_2_split_test_y.h5.gz").write_bytes(gzip.compress(file.getvalue()))

    return change


LISTS = {
    "coop fraction": ("ucf101", coop_with(0.7), r"split_zhou_UCF101\.json: test\[0\]: the label is 0\.7"),
    "coop nan": ("ucf101", coop_with(math.nan), r"test\[0\]: the label is nan"),
    "coop true": ("ucf101", coop_with(True), r"test\[0\]: the label is True"),
    "coop text": ("ucf101", coop_with("0"), r"test\[0\]: the label is '0'"),
    "coop none": ("ucf101", coop_with(None), r"test\[0\]: the label is None"),
    "coop negative": ("ucf101", coop_with(-1), r"test\[0\]: the label is -1"),
    "coop large": ("ucf101", coop_with(2**63), r"test\[0\]: the label is 9223372036854775808"),
    "coop list": ("ucf101", coop_with([0]), r"test\[0\]: the label is \[0\]"),
    "coop beyond": ("ucf101", coop_with(101), r"json: label 101 is 'applyeyemakeup' there"),
    "memes fraction": ("hateful-memes", memes_with(0.7), r"test_seen\.jsonl: img/00001\.png: the label is 0\.7"),
    "memes text": ("hateful-memes", memes_with("1"), r"img/00001\.png: the label is '1'"),
    "memes true": ("hateful-memes", memes_with(True), r"img/00001\.png: the label is True"),
    "flowers fraction": ("flowers102", flowers_with(5.5), r"imagelabels\.mat: image 6, from 1: the label is 4\.5"),
    "flowers nan": ("flowers102", flowers_with(math.nan), r"imagelabels\.mat: image 6, from 1: the label is nan"),
    "flowers zero": ("flowers102", flowers_with(0), r"imagelabels\.mat: image 6, from 1: the label is -1"),
    "flowers beyond": ("flowers102", flowers_with(103), r"the label of image 0 is 102, .*image_00006\.jpg"),
    "cars fraction": ("stanford-cars", cars_with(1.5), r"annos_withlabels\.mat: 00001\.jpg: the label is 1\.5"),
    "cars nan": ("stanford-cars", cars_with(math.nan), r"00001\.jpg: the label is nan"),
    "cars list": ("stanford-cars", cars_with([1, 2]), r"00001\.jpg: the label is"),
    "cifar fraction": (
        "cifar10",
        cifar_with([0, 1, 0.7]),
        r"cifar-10-python\.tar\.gz: .*/test_batch \[2\]: the label is",
    ),
    "cifar fractions": ("cifar10", cifar_with(np.array([0, 1, 0.7])), r"test_batch \[2\]: the label is 0\.7"),
    "cifar bool": ("cifar10", cifar_with(np.array([True, False, True])), r"test_batch \[0\]: the label is True"),
    "cifar uint64": ("cifar10", cifar_with(np.array([0, 1, 2**63], np.uint64)), r"test_batch \[2\]: the label is 92"),
    "cifar lists": ("cifar10", cifar_with([[0], [1], [2]]), r"test_batch \[0\]: the label is \[0\]"),
    "cifar two": ("cifar10", cifar_with([0, 1]), r"test_batch: 3 images and not as many 'labels'"),
    "cifar none": ("cifar10", cifar_with(None), r"test_batch: 3 images and not as many 'labels'"),
    "cifar beyond": ("cifar10", cifar_with([0, 1, 10]), r"image 2 is 10, .* 10 classes \(.*python\.tar\.gz \[2\]\)"),
    "pets fraction": ("oxford-pets", pets_with(b"american_bulldog_1 0.7 1 1"), r"bulldog_1: the label is 0\.7"),
    "pets text": (
        "oxford-pets",
        pets_with(b"american_bulldog_1 cat"),
        r"test\.txt: american_bulldog_1: the label 'cat'",
    ),
    "pets short": ("oxford-pets", pets_with(b"american_bulldog_1"), r"test\.txt, line 2: 'american_bulldog_1' lacks"),
    "pets bytes": ("oxford-pets", pets_with(b"\xff\xfe 1"), r"annotations/test\.txt: not text in UTF-8"),
    "pets lost": ("oxford-pets", pets_with(b"lost_1 1"), r"images\.tar\.gz: holds no 'images/lost_1\.jpg'"),
    "pcam fraction": ("pcam", pcam_with(np.array([0, 1, 0.7, 0, 1])), r"test_y\.h5 \[2\]: the label is 0\.7"),
    "pcam nan": ("pcam", pcam_with(np.array([0, 1, math.nan, 0, 1])), r"test_y\.h5 \[2\]: the label is nan"),
    "pcam fewer": ("pcam", pcam_with(np.array([0, 1, 0])), r"5 patches and 3 labels"),
    "pcam texts": ("pcam", pcam_with(np.array([b"a"] * 5)), r"test_y\.h5 \[0\]: the label is"),
}


@pytest.mark.parametrize("what", LISTS)
def test_a_bad_list_of_a_set(what: str, root: Path, tmp_path: Path):
    name, change, message = LISTS[what]
    getattr(archives, name.replace("-", "_"))(root)
    change(root / name)
    with refused(message):
        prepare(name, "test", None, tmp_path / "out", "16")

"""Tables of bad files: whatever is wrong with one, the mistake is one line that names it; no label is cut."""

import gzip
import io
import json
import math
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import archives
from support.bad_bytes import HTML, LFS, zip_of
from support.preparing import define, prepare, root, run, spec_of  # noqa: F401
from support.project import refused
from test_bad_data import fails, folders, own, saved, test

from zsr.data import image as images_of
from zsr.data import prepared as arrays
from zsr.data.prepared import Chunk
from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.training import captions

test.__test__ = False

# -- every archive of every set ---------------------------------------------------------------------------------------

SETS = {
    "cifar10": "test", "cifar100": "train", "stl10": "test", "tiny-imagenet": "test", "imagenet": "test",
    "imagenet-r": "test", "imagenet-v2": "test", "sun397": "test", "stanford-cars": "test", "food101": "test",
    "oxford-pets": "test", "flowers102": "test", "dtd": "test", "eurosat": "test", "fgvc-aircraft": "test",
    "pcam": "test", "hateful-memes": "test", "caltech101": "test", "caltech256": "test", "country211": "test",
    "ucf101": "test",
}  # fmt: skip
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "web page": lambda _: HTML,
    "pointer": lambda _: LFS,
    "cut": lambda good: good[: len(good) // 2],
    "garbage": lambda good: np.random.default_rng(0).bytes(len(good)),
    "gzip of a web page": lambda _: gzip.compress(HTML),
    "zip of something else": lambda _: zip_of({"a.txt": b"text"}),
    "tar of something else": lambda _: tar_of({"a.txt": b"text"}),
}
SAYS = {
    "missing": "missing; ",
    "empty": "it is empty",
    "web page": "it is a web page",
    "pointer": "it is a pointer of Git LFS",
}


def tar_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    archives.tar(file, files)
    return file.getvalue()


@pytest.mark.parametrize("damage", [*DAMAGE, "missing"])
@pytest.mark.parametrize("name", SETS)
def test_a_damaged_file_of_a_set(name: str, damage: str, root: Path, tmp_path: Path):  # noqa: F811
    getattr(archives, name.replace("-", "_"))(root)
    changes = {"classes": ["Andorra", "Emirates"]} if name == "country211" else {}
    _, _, facts = prepare(name, SETS[name], None, tmp_path / "good", "16", **changes)
    folder = root / name
    for file in facts["files"]:
        path = folder / (file if (folder / file).is_file() else f"{file}.gz")  # PCAM's are unpacked beside themselves
        good = path.read_bytes()
        for made in (*folder.glob(".*.checked.json"), *folder.glob("*.h5")):
            made.unlink()
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(DAMAGE[damage](good))
        with refused(path.name.removesuffix(".gz").replace(".", r"\.")) as caught:
            prepare(name, SETS[name], None, tmp_path / "bad", "16", **changes)
        if damage in SAYS and not path.name.endswith((".h5.gz", ".tgz.gz")):
            assert SAYS[damage] in str(caught.value)
        path.write_bytes(good)


# -- labels -----------------------------------------------------------------------------------------------------------

NOT_LABELS = {
    "fraction": 0.7, "nan": math.nan, "infinite": math.inf, "none": None, "negative": -1, "true": True,
    "list": [1], "beyond int64": 2**63, "mapping": {"a": 1},
}  # fmt: skip
TEXTS = ["0.7", "nan", "", "-1", "[1]", "99999999999999999999", "cat", "1 2"]


def table(path: Path, labels: list, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [archives.picture(i, kind="PNG") for i in range(len(labels))]
    pq.write_table(pa.table({"image": pictures, "label": labels, **columns}), path)
    return path


@pytest.mark.parametrize("what", NOT_LABELS)
def test_a_label_of_parquet_that_is_no_class(what: str, root: Path, tmp_path: Path):  # noqa: F811
    value = NOT_LABELS[what]
    table(root / "own/test-0.parquet", [0, 1])
    column = {"list": [[0], [1]], "mapping": [{"a": 0}, {"a": 1}], "true": [True, False]}.get(what, [0, value])
    table(root / "own/test-1.parquet", np.array([0, value], np.uint64) if what == "beyond int64" else column)
    row = 0 if what in ("list", "mapping", "true") else 1
    fails(own("parquet", 4), tmp_path / "out", rf"own/test-1\.parquet: row {row}, column 'label': (the|no) label")


def test_whole_floats_are_labels(root: Path, tmp_path: Path):  # noqa: F811
    table(root / "own/test.parquet", [1.0, 0.0, 1.0])
    _, labels, _ = test(own("parquet", 3), tmp_path / "out")
    assert labels.dtype == np.int64 and labels.tolist() == [1, 0, 1]


def test_a_label_without_a_class_is_named(root: Path, tmp_path: Path):  # noqa: F811
    table(root / "own/test-0.parquet", [0, 1])
    table(root / "own/test-1.parquet", [0, 7])
    fails(own("parquet", 4), tmp_path / "out", r"label of image 3 is 7, .* 2 classes \(.*test-1\.parquet: row 1\)")


def test_texts_beside_numbers_are_refused(root: Path, tmp_path: Path):  # noqa: F811
    table(root / "own/test-0.parquet", ["cat", "dog"])
    table(root / "own/test-1.parquet", [0, 1])
    fails(own("parquet", 4), tmp_path / "out", r"test-1\.parquet: row 0, .* a number, other labels are texts")


@pytest.mark.parametrize("text", TEXTS)
def test_a_label_of_webdataset_that_is_no_class(text: str, root: Path, tmp_path: Path):  # noqa: F811
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
def test_a_bad_list_of_a_set(what: str, root: Path, tmp_path: Path):  # noqa: F811
    name, change, message = LISTS[what]
    getattr(archives, name.replace("-", "_"))(root)
    change(root / name)
    with refused(message):
        prepare(name, "test", None, tmp_path / "out", "16")


INSIDE = {
    "dtd unknown class": ("dtd", "dtd-r1.0.1.tar.gz", "dtd/labels/test1.txt", b"plaid/1.jpg", "unknown class 'plaid'"),
    "dtd bytes": ("dtd", "dtd-r1.0.1.tar.gz", "dtd/labels/test1.txt", b"\xff\xff", "test1.txt: not text in UTF-8"),
    "fgvc short": ("fgvc-aircraft", "fgvc-aircraft-2013b.tar.gz", "fgvc-aircraft-2013b/data/images_variant_test.txt",
                   b"0000003", "images_variant_test.txt, line 1: '0000003' lacks"),
    "fgvc unknown": ("fgvc-aircraft", "fgvc-aircraft-2013b.tar.gz",
                     "fgvc-aircraft-2013b/data/images_variant_test.txt", b"0000003 UFO", "unknown class 'UFO'"),
    "food html": ("food101", "food-101.tar.gz", "food-101/meta/test.json", HTML, "test.json: not JSON.* web page"),
    "food list": ("food101", "food-101.tar.gz", "food-101/meta/test.json", b"[1]", "has no list of the images of"),
    "food lacks": ("food101", "food-101.tar.gz", "food-101/meta/test.json", b"{}",
                   "no list of the images of 'apple_pie'"),
    "tiny short": ("tiny-imagenet", "tiny-imagenet-200.zip", "tiny-imagenet-200/val/val_annotations.txt", b"val_0.JPEG",
                   "val_annotations.txt, line 1: 'val_0.JPEG' lacks"),
    "tiny unknown": ("tiny-imagenet", "tiny-imagenet-200.zip", "tiny-imagenet-200/val/val_annotations.txt",
                     b"val_0.JPEG\tn0\t0", "val_0.JPEG: the unknown class 'n0'"),
    "memes json": ("hateful-memes", "hateful_memes.zip", "data/test_seen.jsonl", b'{"img": ',
                   "jsonl, line 1: not JSON"),
    "memes list": ("hateful-memes", "hateful_memes.zip", "data/test_seen.jsonl", b"[]", "line 1: not a mapping"),
    "memes lack": ("hateful-memes", "hateful_memes.zip", "data/test_seen.jsonl", b'{"id": 5}', "meme 5 has no 'img'"),
    "kit mat": ("imagenet", "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12/data/meta.mat", HTML,
                "meta.mat: not a MATLAB file.* web page"),
    "kit other": ("imagenet", "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12/data/meta.mat",
                  archives.mat(synsets=np.arange(3)), "meta.mat has no 'ILSVRC2012_ID'"),
    "kit truth": ("imagenet", "ILSVRC2012_devkit_t12.tar.gz",
                  "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", b"2 1 x", "label b'x' is not"),
    "stl cut": ("stl10", "stl10_binary.tar.gz", "stl10_binary/test_X.bin", b"123", "3 bytes for 3 labels"),
    "cifar html": ("cifar10", "cifar-10-python.tar.gz", "cifar-10-batches-py/test_batch", HTML,
                   "not a batch.* web page"),
    "cifar list": ("cifar10", "cifar-10-python.tar.gz", "cifar-10-batches-py/test_batch", pickle.dumps([1]),
                   "test_batch: not a batch of CIFAR, it has no 'data'"),
    "cifar floats": ("cifar10", "cifar-10-python.tar.gz", "cifar-10-batches-py/test_batch",
                     pickle.dumps({"data": np.zeros((1, 3072)), "labels": [0]}, 2), "its 'data' is not uint8"),
    "cifar shape": ("cifar10", "cifar-10-python.tar.gz", "cifar-10-batches-py/test_batch",
                    pickle.dumps({"data": np.zeros((1, 3071), np.uint8), "labels": [0]}, 2), r"not uint8 \[n, 3072\]"),
    "caltech inner": ("caltech101", "caltech-101.zip", "caltech-101/101_ObjectCategories.tar.gz", HTML,
                      "caltech-101.zip"),
}  # fmt: skip


def replaced(path: Path, member: str, content: bytes) -> None:
    """The archive with another content of one member."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        archives.zipped(path, files | {member: content})
    else:
        with tarfile.open(path) as archive:
            files = {one.name: archive.extractfile(one).read() for one in archive.getmembers()}
        archives.tar(path, files | {member: content})


@pytest.mark.parametrize("what", INSIDE)
def test_a_bad_file_in_an_archive(what: str, root: Path, tmp_path: Path):  # noqa: F811
    name, archive, member, content, message = INSIDE[what]
    getattr(archives, name.replace("-", "_"))(root)
    replaced(root / name / archive, member, content)
    with refused(message) as caught:
        prepare(name, "test", None, tmp_path / "out", "16")
    assert archive in str(caught.value)


def test_a_bad_file_is_replaced_and_the_good_one_is_read(root: Path, tmp_path: Path):  # noqa: F811
    """The digest of what could not be read is not remembered; that of what was read is."""
    path = table(root / "own/test.parquet", [0, 1])
    good = path.read_bytes()
    path.write_bytes(HTML)
    fails(own("parquet"), tmp_path / "page", "it is a web page")
    table(path, [0, 7])
    fails(own("parquet"), tmp_path / "label", "label of image 1 is 7")
    path.write_bytes(good)
    assert test(own("parquet"), tmp_path / "good")[1].tolist() == [0, 1]
    path.write_bytes(HTML)
    fails(own("parquet"), tmp_path / "other", "another file than the one that was used before")


# -- tables, shards, folders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_table(damage: str, root: Path, tmp_path: Path):  # noqa: F811
    table(root / "own/test-0.parquet", [0, 1])
    path = table(root / "own/test-1.parquet", [0, 1])
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    fails(own("parquet", 4), tmp_path / "out", rf"own/test-1\.parquet: not a Parquet file.*{SAYS.get(damage, '')}")


def test_a_table_whose_pages_are_damaged(root: Path, tmp_path: Path):  # noqa: F811
    path = table(root / "own/test.parquet", [0, 1] * 50)
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    fails(own("parquet", 100), tmp_path / "out", r"own/test\.parquet: ")


TABLES = {
    "no column": ({"label": [0, 1]}, r"test\.parquet: no column 'image'; the file has label"),
    "no image": (
        {"image": [None, b"x"], "label": [0, 1]},
        r"test\.parquet: row 0: column 'image' holds no encoded image",
    ),
    "text": ({"image": ["a", "b"], "label": [0, 1]}, r"test\.parquet: row 0: column 'image' holds no encoded image"),
    "number": ({"image": [1, 2], "label": [0, 1]}, r"test\.parquet: row 0: column 'image' holds no encoded image"),
    "path alone": (
        {"image": [{"path": "a.png", "bytes": None}] * 2, "label": [0, 1]},
        r"test\.parquet: row 0: column 'image' holds no encoded image",
    ),
    "no bytes": ({"image": [b"", b""], "label": [0, 1]}, r"test\.parquet: row 0: not a picture .*it is empty"),
    "binary label": ({"image": [b"a", b"b"], "label": [b"0", b"1"]}, r"row 0, column 'label': the label is b'0'"),
    "no rows": (
        {"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())},
        r"own \(test\): holds no picture",
    ),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_bad_table(what: str, root: Path, tmp_path: Path):  # noqa: F811
    columns, message = TABLES[what]
    (root / "own").mkdir(parents=True)
    pq.write_table(pa.table(columns), root / "own/test.parquet")
    fails(own("parquet"), tmp_path / "out", message)


def test_a_table_with_a_column_twice(root: Path, tmp_path: Path):  # noqa: F811
    (root / "own").mkdir(parents=True)
    twice = pa.Table.from_arrays([pa.array([b"a"]), pa.array([0]), pa.array([1])], ["image", "label", "label"])
    pq.write_table(twice, root / "own/test.parquet")
    fails(own("parquet", 1), tmp_path / "out", r"test\.parquet: more than one column 'label'")


NOT_CAPTIONS = {
    "none": None,
    "number": 5,
    "empty": " ",
    "no texts": [],
    "a none among": ["a", None],
    "mapping": {"a": 1},
}


@pytest.mark.parametrize("what", NOT_CAPTIONS)
def test_a_caption_that_is_none(what: str, root: Path, tmp_path: Path):  # noqa: F811
    value = NOT_CAPTIONS[what]
    good = {"number": 4, "no texts": ["a"], "a none among": ["a"], "mapping": {"a": 0}}.get(what, "a")
    table(root / "own/test.parquet", [0, 1], text=[good, value])
    found = own("parquet", options={"caption": "text"})
    row = 0 if what in ("number", "mapping") else 1
    fails(found, tmp_path / "out", rf"test\.parquet: row {row}, column 'text': (has no caption|the caption is)")


METADATA = {
    "unclosed quote": (
        "csv",
        b'file_name,text\ncat/1.png,"a cat\ndog/1.png,a dog\n',
        r"metadata\.csv: not a table of CSV",
    ),
    "bytes": ("csv", b"file_name,text\ncat/1.png,\xff\xfe\n", r"metadata\.csv: not text in UTF-8"),
    "page": ("csv", HTML, r"metadata\.csv: no column 'file_name'"),
    "empty": ("csv", b"", r"metadata\.csv: no column 'file_name'"),
    "no column": (
        "csv",
        b"file_name,caption\ncat/1.png,a\n",
        r"metadata\.csv: no column 'text', it has file_name, caption",
    ),
    "a row less": ("csv", b"file_name,text\ncat/1.png,a cat\n", r"column 'text': dog/1\.png: has no caption"),
    "short row": ("csv", b"file_name,text\ncat/1.png,a cat\ndog/1.png\n", r"dog/1\.png: has no caption"),
    "twice": ("csv", b"file_name,text\ncat/1.png,a\ncat/1.png,b\ndog/1.png,c\n", r"'cat/1\.png' has two captions"),
    "json": ("jsonl", b'{"file_name": "cat/1.png", "text": "a cat"}\n{"file', r"metadata\.jsonl, line 2: not JSON"),
    "lines": ("jsonl", b'["cat/1.png", "a cat"]', r"metadata\.jsonl, line 1: not a mapping"),
    "number": (
        "jsonl",
        b'{"file_name": "cat/1.png", "text": 5}\n{"file_name": "dog/1.png", "text": "a"}',
        r"cat/1\.png: the caption is 5; write a text",
    ),
}


@pytest.mark.parametrize("what", METADATA)
def test_bad_metadata(what: str, root: Path, tmp_path: Path):  # noqa: F811
    kind, content, message = METADATA[what]
    folders(root)
    (root / f"own/metadata.{kind}").write_bytes(content)
    fails(own(options={"inside": "", "caption": "text"}), tmp_path / "out", message)


def test_metadata_that_excel_wrote_is_read(root: Path, tmp_path: Path):  # noqa: F811
    folders(root)
    (root / "own/metadata.csv").write_bytes("\ufefffile_name,text\ncat/1.png,ä\ndog/1.png,b\n".encode())
    assert len(test(own(options={"inside": "", "caption": "text"}), tmp_path / "out")[1]) == 2


SHARDS = {
    "two images": ({"a.cls": b"0", "a.jpg": b"", "a.png": b""}, r"'a\.jpg' and 'a\.png' are images of one sample"),
    "no label": ({"a.jpg": b""}, r"0\.tar: 'a\.jpg' has no label"),
    "no image": ({"a.cls": b"0"}, r"0\.tar: 'a\.cls' has no image"),
    "bytes": ({"a.cls": b"\xff", "a.jpg": b""}, r"0\.tar: a\.cls: the label b'\\xff' is not a number"),
    "no picture": ({"a.cls": b"0", "a.jpg": HTML}, r"0\.tar: a\.jpg: not a picture .* web page"),
    "nothing": ({}, r"own \(test\): holds no picture"),
}


@pytest.mark.parametrize("what", SHARDS)
def test_a_bad_shard(what: str, root: Path, tmp_path: Path):  # noqa: F811
    files, message = SHARDS[what]
    archives.tar(root / "own/test/0.tar", files, "w")
    fails(own("webdataset", 1), tmp_path / "out", message)


@pytest.mark.parametrize("damage", ["empty", "web page", "cut", "garbage"])
def test_a_damaged_shard(damage: str, root: Path, tmp_path: Path):  # noqa: F811
    path = root / "own/test/0.tar"
    archives.tar(path, {"a.cls": b"0", "a.jpg": archives.picture(1, (90, 90))}, "w")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    fails(own("webdataset", 1), tmp_path / "out", r"own/test/0\.tar: not a tar, damaged or cut short")


@pytest.mark.parametrize("pattern", ["test/{0..x}.tar", "test/{..}.tar", "test/{5..1}.tar"])
def test_a_range_of_shards_that_is_none(pattern: str, root: Path, tmp_path: Path):  # noqa: F811
    fails(own("webdataset", 1, options={"shards": pattern}), tmp_path / "out", "is no range of shards")


def twice(path: Path, *contents: bytes) -> None:
    """An archive that holds cat/1.png with each of the contents, and a dog."""
    members = [("dog/1.png", archives.picture(1, kind="PNG")), *(("cat/1.png", content) for content in contents)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zipfile: a duplicate name
            for name, content in members:
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("archive", ["a.zip", "a.tar.gz"])
def test_a_name_twice_in_an_archive(archive: str, root: Path, tmp_path: Path):  # noqa: F811
    one, other = archives.picture(2, kind="PNG"), archives.picture(3, kind="PNG")
    found = own(options={"archive": archive, "inside": ""})
    twice(root / "own" / archive, one, one)  # packed again: the same
    assert len(test(found, tmp_path / "same")[1]) == 2
    (root / f"own/.{archive}.checked.json").unlink()
    twice(root / "own" / archive, one, other)
    fails(found, tmp_path / "other", rf"{archive}: holds 'cat/1\.png' twice, with other contents")


def test_an_encrypted_zip_and_a_damaged_member(root: Path, tmp_path: Path):  # noqa: F811
    path = root / "own/a.zip"
    archives.zipped(path, {"cat/1.png": archives.picture(1, kind="PNG"), "dog/1.png": archives.picture(2, kind="PNG")})
    good = path.read_bytes()
    found = own(options={"archive": "a.zip", "inside": ""})
    path.write_bytes(good.replace(b"IDAT", b"IDBT", 1))
    fails(found, tmp_path / "crc", r"a\.zip: cat/1\.png: not what the index of the zip says.*CRC")
    locked = bytearray(good)
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at = good.index(start) + (6 if start[2] == 3 else 8)
        locked[at] |= 1
    path.write_bytes(locked)
    fails(found, tmp_path / "locked", r"a\.zip: cat/1\.png: not what .*encrypted")


# -- pictures ---------------------------------------------------------------------------------------------------------


def tiff(values: np.ndarray) -> bytes:
    return saved(Image.fromarray(values), "TIFF")


FLOATS = np.random.default_rng(1).random((9, 9), np.float32)
PICTURES = {
    "page": (HTML, "it is a web page"),
    "pointer": (LFS, "it is a pointer of Git LFS"),
    "text": (b"no picture at all", "cannot identify image file"),
    "empty": (b"", "it is empty"),
    "cut jpeg": (archives.picture(1, (60, 60))[:900], "truncated"),
    "cut png": (archives.picture(1, (60, 60), "PNG")[:900], "truncated"),
    "0 × 0": (b"P6\n0 0\n255\n", "cannot identify image file"),
    "0 wide gif": (b"GIF89a\0\0\0\0\0\0\0,\0\0\0\0\0\0\0\0\0\x02\x02D\x01\0;", "cannot identify image file"),
    "bomb": (saved(Image.new("1", (20000, 20000)), "PNG"), "could be decompression bomb|pixels"),
    "small bomb": (saved(Image.new("1", (12000, 9000)), "PNG"), "12000×9000 pixels"),
    "thread": (saved(Image.new("RGB", (2, 60000)), "PNG"), "1000×30000000 pixels"),
    "floats from 0 to 1": (tiff(FLOATS), "its grey goes from 0 to 1"),
    "floats beyond": (tiff(FLOATS * 900), "0 to 255 are admitted"),
    "nan": (tiff(FLOATS * np.float32(math.nan)), "its grey goes from nan"),
    "negative": (tiff(np.full((9, 9), -5, np.int32)), "its grey goes from -5 to -5"),
    "32 bits": (tiff(np.full((9, 9), 70000, np.int32)), "0 to 65535 are admitted"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("what", PICTURES)
def test_a_bad_picture(what: str, encoded: bool, root: Path, tmp_path: Path):  # noqa: F811
    content, message = PICTURES[what]
    found = folders(root, {"cat/bad.png": content})
    line = rf"own: cat/bad\.png: not a picture.*({message})"
    fails(found, tmp_path / "out", line, transform="1000-64-bilinear", encoded=encoded)


def test_a_split_that_stays_encoded_needs_one_size(root: Path, tmp_path: Path):  # noqa: F811
    fails(folders(root), tmp_path / "out", "stays encoded needs a transform", transform="native", encoded=True)


def test_pictures_of_other_modes_are_read_as_before(root: Path):  # noqa: F811
    """A palette with alpha, CMYK, a bit, an animation, 16 bits, and floats on the scale of 8 bits."""
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8))
    palette = grey.convert("P")
    frames = [grey, grey.rotate(90)]
    for content in (
        saved(palette, "PNG", transparency=3),
        saved(grey.convert("CMYK"), "TIFF"),
        saved(grey.convert("1"), "PNG"),
        saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        saved(grey.convert("LA"), "PNG"),
    ):
        wanted = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert np.array_equal(np.asarray(images_of.picture(content, "x")), wanted)
    floats = np.asarray(grey, np.float32)
    assert np.array_equal(np.asarray(images_of.picture(tiff(floats), "x"))[:, :, 0], np.asarray(grey))
    deep = rng.integers(0, 65536, (9, 9), np.uint16)
    found = np.asarray(images_of.picture(saved(Image.fromarray(deep), "PNG"), "x"))
    assert np.array_equal(found[:, :, 1], (deep >> 8).astype(np.uint8))


# -- what is prepared -------------------------------------------------------------------------------------------------


def prepared(folder: Path, images: object, labels: object, told: object = None) -> tuple[Path, dict]:
    """Arrays with right digests, as if made by hand."""
    contents = {"images.npy": images, "labels.npy": labels, "captions.json": told}
    for name, value in contents.items():
        path = folder / name
        if isinstance(value, bytes):
            path.write_bytes(value)
        elif name.endswith("json"):
            path.write_text(json.dumps(value), encoding="utf-8")
        else:
            np.save(path, value, allow_pickle=True)
    digests = {Path(name).stem: file_digest(folder / name) for name in contents}
    spec = {"transform": "8"}
    return folder / "images.npy", {"digests": digests, "labels": {"least": 0, "most": 1}, "spec": spec}


GOOD, LABELS = np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 1])
NPY = io.BytesIO()
np.save(NPY, GOOD)
TABLE = np.dtype([("label", np.int64), ("start", np.int64), ("bytes", np.int64)])
LIE = NPY.getvalue().replace(b"(2, 3, 4, 4)", b"(9, 9, 9, 9)")
ARRAYS = {
    "empty": (b"", LABELS, r"images\.npy: not an array of numbers.*it is empty"),
    "page": (HTML, LABELS, r"images\.npy: not an array of numbers.*web page"),
    "cut": (NPY.getvalue()[:-9], LABELS, r"images\.npy: not an array of numbers"),
    "head cut": (NPY.getvalue()[:40], LABELS, r"images\.npy: not an array of numbers"),
    "lie": (LIE, LABELS, r"images\.npy: not an array of numbers"),
    "zip": (zip_of({"a.npy": NPY.getvalue()}), LABELS, r"images\.npy: not an array of numbers.*archive of arrays"),
    "objects": (GOOD, np.array([{}, 1], object), r"labels\.npy: not an array of numbers"),
    "float images": (GOOD.astype(np.float32), LABELS, r"images\.npy: float32 \[2, 3, 4, 4\], not uint8"),
    "grey": (GOOD[:, 0], LABELS, r"images\.npy: uint8 \[2, 4, 4\], not uint8 \[n, 3, H, W\]"),
    "channels last": (GOOD.transpose(0, 2, 3, 1), LABELS, r"images\.npy: uint8 \[2, 4, 4, 3\]"),
    "float labels": (GOOD, LABELS.astype(float), r"labels\.npy: float64 \[2\] for 2 images"),
    "bool labels": (GOOD, LABELS.astype(bool), r"labels\.npy: bool \[2\] for 2 images"),
    "lists": (GOOD, LABELS[:, None], r"labels\.npy: int64 \[2, 1\] for 2 images"),
    "one less": (GOOD, LABELS[:1], r"labels\.npy: int64 \[1\] for 2 images"),
    "none": (GOOD[:0], LABELS[:0], r"labels\.npy: int64 \[0\] for 0 images"),
    "negative": (GOOD, -LABELS, r"labels\.npy: a label is -1, less than 0"),
    "beyond": (GOOD, LABELS * 5, r"a label is 5, but the dataset names 2 classes"),
    "table": (GOOD, np.zeros(2, [("label", np.int32)]), r"images\.npy: not pictures end to end with their table"),
    "table of arrays": (GOOD, np.zeros(2, TABLE), r"images\.npy: not pictures end to end with their table"),
    "table beyond": (
        GOOD.reshape(-1),
        np.array([(0, 0, 9), (1, 9, 99)], TABLE),
        r"images\.npy: the table names bytes beyond its end",
    ),
    "table before": (GOOD.reshape(-1), np.array([(0, -5, 9)], TABLE), r"images\.npy: the table names bytes beyond"),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_prepared_arrays_that_are_none(what: str, tmp_path: Path):
    images, labels, message = ARRAYS[what]
    path, record = prepared(tmp_path, images, labels)
    with refused(message):
        arrays.read(path, record, 2)


CAPTIONS = {
    "page": (HTML, r"captions\.json: not a list of texts in JSON.*web page"),
    "numbers": ([1, 2], r"captions\.json: not a list of texts"),
    "mapping": ({"a": 1}, r"captions\.json: not a list of texts"),
    "one less": (["a"], r"captions\.json: 1 captions for 2 images"),
    "none": (None, r"has neither captions nor class names"),
}


@pytest.mark.parametrize("what", CAPTIONS)
def test_prepared_captions_that_are_none(what: str, tmp_path: Path):
    told, message = CAPTIONS[what]
    path, record = prepared(tmp_path, GOOD, LABELS, told)
    with refused(message):
        captions.read_pairs(path.with_name("manifest.json"), record, {})


CHUNKS = {
    "fractions": (Chunk(GOOD, np.array([0, 0.7])), r"image 1 of the reader: the label is 0\.7"),
    "negative": (Chunk(GOOD, np.array([0, -1])), r"image 1 of the reader: the label is -1"),
    "lists": (Chunk(GOOD, np.array([[0], [1]])), r"image 0 of the reader|the label"),
    "bool": (Chunk(GOOD, np.array([True, False])), r"image 0 of the reader: the label is True"),
    "fewer labels": (Chunk(GOOD, LABELS[:1]), r"a chunk of \[2, 1\] images, labels"),
    "fewer captions": (Chunk(GOOD, LABELS, ["a"]), r"a chunk of \[2, 2, 1\] images, labels"),
    "floats": (Chunk(GOOD.astype(float), LABELS), "a reader gave images of float64"),
    "lists of images": (Chunk([[1, 2]], LABELS), "a reader gave images of int64"),
    "nothing to see": (Chunk(GOOD[:, :, :0], LABELS), r"images of uint8 \(2, 3, 0, 4\)"),
    "caption none": (Chunk(GOOD, LABELS, ["a", None]), "a caption that is empty or no text"),
}


@pytest.mark.parametrize("what", CHUNKS)
def test_a_reader_that_gives_something_else(what: str, tmp_path: Path):
    chunk, message = CHUNKS[what]
    with refused(message):
        arrays.write(iter([chunk]), 2, tmp_path / "images.npy", tmp_path / "labels.npy")


def test_a_reader_that_forgets_captions(tmp_path: Path):
    chunks = [Chunk(GOOD, LABELS, ["a", "b"]), Chunk(GOOD, LABELS)]
    with refused("2 captions for 4 images; give each one, or none"):
        arrays.write(iter(chunks), 4, tmp_path / "images.npy", tmp_path / "labels.npy")


def test_a_reader_whose_images_change_their_size(tmp_path: Path):
    chunks = [Chunk(GOOD, LABELS), Chunk(np.zeros((2, 3, 5, 5), np.uint8), LABELS)]
    with refused("images .* after .*; one size is wanted"):
        arrays.write(iter(chunks), 4, tmp_path / "images.npy", tmp_path / "labels.npy")


def test_a_wrong_number_of_images_is_named(root: Path, tmp_path: Path):  # noqa: F811
    archives.cifar10(root)
    with pytest.raises(ZsrError, match=r"cifar10 \(test\): holds 3 images, the dataset's definition promises 4"):
        run(spec_of(define("cifar10"), "test", "native", 4), tmp_path / "out")

"""Each set with each of its files damaged, or with one bad member: the mistake is one line that names the file."""

import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support import archives
from support.bad_bytes import DAMAGE, HTML, SAYS
from support.bad_data import fails, own, prepare_test, table
from support.preparing import prepare
from support.project import refused

SETS = {
    "cifar10": "test", "cifar100": "train", "stl10": "test", "tiny-imagenet": "test", "imagenet": "test",
    "imagenet-r": "test", "imagenet-v2": "test", "sun397": "test", "stanford-cars": "test", "food101": "test",
    "oxford-pets": "test", "flowers102": "test", "dtd": "test", "eurosat": "test", "fgvc-aircraft": "test",
    "pcam": "test", "hateful-memes": "test", "caltech101": "test", "caltech256": "test", "country211": "test",
    "ucf101": "test",
}  # fmt: skip


@pytest.mark.parametrize("damage", [*DAMAGE, "missing"])
@pytest.mark.parametrize("name", SETS)
def test_a_damaged_file_of_a_set(name: str, damage: str, root: Path, tmp_path: Path):
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
def test_a_bad_file_in_an_archive(what: str, root: Path, tmp_path: Path):
    name, archive, member, content, message = INSIDE[what]
    getattr(archives, name.replace("-", "_"))(root)
    replaced(root / name / archive, member, content)
    with refused(message) as caught:
        prepare(name, "test", None, tmp_path / "out", "16")
    assert archive in str(caught.value)


def test_a_bad_file_is_replaced_and_the_good_one_is_read(root: Path, tmp_path: Path):
    """The digest of what could not be read is not remembered; that of what was read is."""
    path = table(root / "own/test.parquet", [0, 1])
    good = path.read_bytes()
    path.write_bytes(HTML)
    fails(own("parquet"), tmp_path / "page", "it is a web page")
    table(path, [0, 7])
    fails(own("parquet"), tmp_path / "label", "label of image 1 is 7")
    path.write_bytes(good)
    assert prepare_test(own("parquet"), tmp_path / "good")[1].tolist() == [0, 1]
    path.write_bytes(HTML)
    fails(own("parquet"), tmp_path / "other", "another file than the one that was used before")

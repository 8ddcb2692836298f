"""Prepared arrays, captions and readers that break the format: refused in one line before any training."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from support import archives
from support.bad_bytes import HTML, zip_of
from support.preparing import define, run, spec_of
from support.project import refused

from zsr.data import prepared as arrays
from zsr.data.prepared import Chunk
from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.training import captions


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


def test_a_wrong_number_of_images_is_named(root: Path, tmp_path: Path):
    archives.cifar10(root)
    with pytest.raises(ZsrError, match=r"cifar10 \(test\): holds 3 images, the dataset's definition promises 4"):
        run(spec_of(define("cifar10"), "test", "native", 4), tmp_path / "out")

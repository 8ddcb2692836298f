"""Pictures that cannot be read, are too large or have values out of range: one line that names the picture."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import archives
from support.bad_bytes import HTML, LFS
from support.bad_data import fails, folders, saved

from zsr.data import image as images_of


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
def test_a_bad_picture(what: str, encoded: bool, root: Path, tmp_path: Path):
    content, message = PICTURES[what]
    found = folders(root, {"cat/bad.png": content})
    line = rf"own: cat/bad\.png: not a picture.*({message})"
    fails(found, tmp_path / "out", line, transform="1000-64-bilinear", encoded=encoded)


def test_a_split_that_stays_encoded_needs_one_size(root: Path, tmp_path: Path):
    fails(folders(root), tmp_path / "out", "stays encoded needs a transform", transform="native", encoded=True)


def test_pictures_of_other_modes_are_read_as_before(root: Path):
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

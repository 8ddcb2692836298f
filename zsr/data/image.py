"""Decodes one picture to RGB, as torchvision's loader does; unusual modes and sizes are handled here."""

import io
import warnings

import numpy as np
from PIL import Image

from zsr.data.transforms import Transform
from zsr.storage.unreadable import reading

PIXELS = 100_000_000  # a larger picture is a decompression bomb
DEEPEST = 65535  # of 16 bits
Image.MAX_IMAGE_PIXELS = PIXELS
# for good: `catch_warnings` would undo what another thread has set; the size is looked at below
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", "Palette images with Transparency", UserWarning)


def picture(content: bytes | np.ndarray, name: str) -> Image.Image:
    """RGB, as torchvision's loader gives it: the first frame, not turned by EXIF, alpha dropped; but 16 bits scaled."""
    if isinstance(content, np.ndarray):
        return Image.fromarray(content)
    with reading(name, "a picture that can be read", "remove or replace it", content):
        image: Image.Image = Image.open(io.BytesIO(content))
        _check_size(*image.size)
        if image.mode.startswith("I"):  # 16 bits of grey: convert() would clip, not scale
            image = Image.fromarray((_within(image, 0, DEEPEST) >> 8).astype(np.uint8))
        elif image.mode == "F" and 0 < _within(image, 0, 255).max() <= 1:  # convert() would make it black
            raise ValueError("its grey goes from 0 to 1, in floats; save it with 8 bits")
        return image if image.mode == "RGB" and _load(image) else image.convert("RGB")


def prepared(content: bytes | np.ndarray, name: str, transform: Transform) -> np.ndarray:
    """[3, H, W] uint8: the picture as it is attacked."""
    image = picture(content, name)
    with reading(name, "a picture that the transform can take", "remove or replace it", b"-"):
        _check_size(*(transform.resized(*image.size) or (1, 1)))
        return planes(transform(image))


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= PIXELS:
        raise ValueError(f"{width}×{height} pixels, from 1 to {PIXELS:,} are admitted")


def _within(image: Image.Image, least: int, most: int) -> np.ndarray:
    """The values of one channel; outside of the range they would be clipped, and another picture."""
    values = np.asarray(image)
    if not ((values >= least) & (values <= most)).all():
        raise ValueError(f"its grey goes from {values.min()} to {values.max()}, {least} to {most} are admitted")
    return values


def _load(image: Image.Image) -> bool:
    image.load()
    return True


def planes(image: Image.Image) -> np.ndarray:
    """[3, H, W] uint8, a view."""
    return np.asarray(image).transpose(2, 0, 1)

"""One picture, from its bytes to RGB, as torchvision's loader gives it; every surprise of a picture is handled here."""

import io
import warnings

import numpy as np
from PIL import Image

from zsr.errors import ZsrError

Image.MAX_IMAGE_PIXELS = 100_000_000  # a larger picture is a decompression bomb


def picture(content: bytes | np.ndarray, name: str) -> Image.Image:
    """RGB, as torchvision's loader gives it: the first frame, not turned by EXIF, alpha dropped; but 16 bits scaled."""
    if isinstance(content, np.ndarray):
        return Image.fromarray(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", "Palette images with Transparency", UserWarning)
            image = Image.open(io.BytesIO(content))
            if image.mode.startswith("I"):  # 16 bits of grey: convert() would clip, not scale
                deep = np.asarray(image)
                image = Image.fromarray((np.clip(deep, 0, 65535) >> 8).astype(np.uint8))
            return image if image.mode == "RGB" and _load(image) else image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        what = " ".join(str(error).split()).replace("<_io.BytesIO object", "<picture")
        raise ZsrError(f"{name}: not a picture that can be read ({what}); remove or replace it") from error


def _load(image: Image.Image) -> bool:
    image.load()
    return True


def planes(image: Image.Image) -> np.ndarray:
    """[3, H, W] uint8, a view."""
    return np.asarray(image).transpose(2, 0, 1)

"""Contact sheets: sample images of a set side by side in one PNG, and the section of the page that shows them."""

import io
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

from zsr.report.escape import data_uri, text


class Sheet(NamedTuple):
    """The contact sheet of one set."""

    name: str
    caption: str
    png: bytes


def contact_sheet(images: np.ndarray, columns: int = 10, size: int = 64, gap: int = 2) -> bytes:
    """`images` [n, 3, H, W] uint8 as a PNG of `columns` to a row, each about `size` pixels wide.

    Small images are enlarged without smoothing, so that every pixel is seen.
    """
    n, _, height, width = images.shape
    scale = max(1, size // width)
    if width > size:  # large photographs: every k-th pixel is enough to recognise them
        step = -(-width // size)
        images = images[:, :, ::step, ::step]
        scale = 1
    tiles = np.repeat(np.repeat(images.transpose(0, 2, 3, 1), scale, 1), scale, 2)
    height, width = tiles.shape[1:3]
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 128, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG", optimize=True)
    return file.getvalue()


def html(sheets: Iterable[Sheet]) -> str:
    """All contact sheets with their captions."""
    items = [
        f"<figure><img src='{data_uri(sheet.png)}' alt='Sample images of {text(sheet.name)}' loading='lazy'>"
        f"<figcaption><b>{text(sheet.name)}</b> {text(sheet.caption)}</figcaption></figure>"
        for sheet in sheets
    ]
    return f"<div class='sheets'>{''.join(items)}</div>" if items else "<p>No contact sheets were made.</p>"

"""The gallery inside the page: every picture once, as a PNG in a data URI, and the entries that refer to them."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from zsr.report.escape import data_uri

BUDGET = 9_000_000  # characters of pictures: with scripts, figures and evidence the page stays below 15 MB
PICTURES = ("image", "adversarial", "perturbation")


def pack(entries: Sequence[dict], pictures: Mapping[str, np.ndarray], labels: Mapping[str, str]) -> dict:
    """{'pictures': [URI], 'entries': […], 'left': entries beyond the budget}; `labels`: id of a model -> its name."""
    uris: list[str] = []
    places: dict[tuple[int, bool], int] = {}
    kept, spent = [], 0

    def place(number: int, shade: bool = False) -> int:
        nonlocal spent
        if (number, shade) not in places:
            picture = pictures[str(number)]
            places[number, shade] = len(uris)
            uris.append(data_uri(shadow(picture) if shade else png(picture)))
            spent += len(uris[-1])
        return places[number, shade]

    for entry in entries:
        if spent > BUDGET:
            break
        packed = {key: entry[key] for key in ("protocol", "backbone", "dataset", "attack", "eps", "index", "label",
                                              "fate", "words", "before", "after", "times")}  # fmt: skip
        packed["model"] = labels[entry["id"]]
        packed |= {name: None if entry[name] is None else place(entry[name]) for name in PICTURES}
        packed["attention"] = [place(number, shade=True) for number in entry["attention"]]
        kept.append(packed)
    return {"pictures": uris, "entries": kept, "left": len(entries) - len(kept)}


def png(picture: np.ndarray) -> bytes:
    """[3, h, w] uint8."""
    return _bytes(Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))))


def shadow(attention: np.ndarray) -> bytes:
    """A map [rows, columns] as shade: transparent where the model looked most, dark where it did not look."""
    dark = np.zeros((*attention.shape, 4), np.uint8)
    dark[..., 3] = np.round((255 - attention.astype(float)) * 0.85)
    return _bytes(Image.fromarray(dark, "RGBA"))


def _bytes(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()

"""The gallery inside the page: every picture once, as a PNG in a data URI, and the entries that refer to them."""

import io
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from PIL import Image

from zsr.report.escape import data_uri

BUDGET = 9_000_000  # characters of pictures: with scripts, figures and evidence the page stays below 15 MB
PICTURES = ("image", "adversarial", "perturbation")


class Packed(TypedDict):
    """The gallery as the page's script reads it."""

    pictures: list[str]  # data URIs
    entries: list[dict]  # which name pictures by their index
    left: int  # entries beyond the budget


def pack(entries: Sequence[dict], pictures: Mapping[str, np.ndarray], labels: Mapping[str, str]) -> Packed:
    """The entries that fit into the budget, with their pictures; `labels`: id of a model -> its name."""
    uris: list[str] = []
    known: dict[tuple[int, bool], int] = {}
    kept, spent = [], 0

    def uri_index(number: int, shade: bool = False) -> int:
        """Where the data URI of a picture is; a new one is added."""
        nonlocal spent
        if (number, shade) not in known:
            picture = pictures[str(number)]
            known[number, shade] = len(uris)
            uris.append(data_uri(shadow(picture) if shade else png(picture)))
            spent += len(uris[-1])
        return known[number, shade]

    for entry in entries:
        if spent > BUDGET:
            break
        packed = {key: entry[key] for key in ("protocol", "backbone", "dataset", "attack", "eps", "index", "label",
                                              "fate", "words", "before", "after", "times")}  # fmt: skip
        packed["model"] = labels[entry["id"]]
        packed |= {name: None if entry[name] is None else uri_index(entry[name]) for name in PICTURES}
        packed["attention"] = [uri_index(number, shade=True) for number in entry["attention"]]
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


def html(packed: Packed) -> str:
    """The section; the page's script fills in the entries."""
    if not packed["entries"]:
        return (
            "<p>No adversarial examples were kept: write <code>store: examples</code> in a protocol of the config.</p>"
        )
    filters = "".join(
        f"<label>{name.capitalize()} <select name='{name}'><option value=''>all</option></select></label>"
        for name in ("set", "model", "fate")
    )
    left = f" {packed['left']} more did not fit into the page." if packed["left"] else ""
    return (
        "<p class='key'>Images chosen by a seeded random draw, so none are cherry-picked, in one order for all models "
        "of a set; where a model's "
        "example of an image was not kept (<code>store: 20</code>, or it fell to an earlier attack of a chain), the "
        "next image of that order is shown. The perturbation is amplified around grey. Probabilities are those of the "
        "model in fp32; attention is that of the "
        f"class token in the last layer, mean over heads, before and after.{left}</p>"
        f"<form class='filters' aria-label='Filter the gallery'>{filters}<output aria-live='polite'></output></form>"
        "<div class='cards'></div><noscript><p>The gallery needs JavaScript.</p></noscript>"
        "<p><button type='button' class='more' hidden>Show more</button></p>"
    )

"""Images of a prepared split with their captions: those of the data, or each image's class in every template."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from zsr.data import prepared
from zsr.errors import ZsrError
from zsr.storage.records import REPAIR, check_digest
from zsr.storage.unreadable import reading

BETWEEN = " | "  # alternatives of one image


def prompts(labels: np.ndarray, classes: list[str], templates: list[str]) -> list[str]:
    """Captions of images that have none: their class in every template."""
    told = [BETWEEN.join(of_class(name, templates)) for name in classes]
    return [told[label] for label in labels]


def of_class(name: str, templates: list[str]) -> list[str]:
    """One class's prompts."""
    return [template.replace("{}", name) for template in templates]


def all_prompts(named: Iterable[dict]) -> list[str]:
    """Each class of several datasets in each template of its dataset."""
    return [prompt for entry in named for name in entry["classes"] for prompt in of_class(name, entry["templates"])]


def all_texts(captions: list[str], beyond: Iterable[str] = ()) -> list[str]:
    """Each different caption and further text once, in a fixed order."""
    return sorted({text for caption in captions for text in caption.split(BETWEEN)} | set(beyond))


def read_pairs(data: Path, record: dict, named: dict) -> tuple[np.ndarray, list[str]]:
    """(images, a caption of each) of a split; `named` has `classes` and `templates` for those without captions."""
    captions = check_digest(data.with_name("captions.json"), record["digests"]["captions"])
    with reading(captions, "a list of texts in JSON", REPAIR):
        told = json.loads(captions.read_text(encoding="utf-8"))
        if not isinstance(told or [], list) or not all(isinstance(caption, str) for caption in told or []):
            raise TypeError("it holds something else")
    classes = named.get("classes", [])
    if not told and not classes:
        raise ZsrError(f"{data.parent}: has neither captions nor class names; nothing to learn from")
    images, labels = prepared.read(data.with_name("images.npy"), record, None if told else len(classes))
    if told and len(told) != len(images):
        raise ZsrError(f"{captions}: {len(told)} captions for {len(images)} images; {REPAIR}")
    return images, told or prompts(labels, classes, named["templates"])

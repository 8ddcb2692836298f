"""Images of each dataset, for the contact sheets of the report."""

from typing import NamedTuple

import numpy as np

from zsr.data import prepared
from zsr.plan.plan import Plan
from zsr.storage.records import read_record

IMAGES = 40  # of one sheet


class SheetImages(NamedTuple):
    """What a contact sheet shows of one dataset."""

    name: str
    caption: str
    images: np.ndarray  # [n, 3, H, W] uint8


def sheet(plan: Plan, dataset: str) -> SheetImages:
    """A dataset's name, its caption and some of its images, by a seeded random draw, so none are cherry-picked."""
    data = plan.sheets[dataset]
    record = read_record(plan.results / data.record, data.hash)
    images, labels = prepared.read(plan.results / data.outputs["images"], record)
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:IMAGES])
    definition = plan.config.datasets[dataset]
    size = f"{len(definition.classes) or 'no'} classes, {len(labels)} images"
    said = [definition.about, size, definition.citation, definition.licence]
    caption = "".join(f"{text[:1].upper()}{text[1:].rstrip('.')}. " for text in said if text).strip()
    return SheetImages(dataset, caption, images[chosen])

"""What a set is to the models of its protocol, and which kinds of sets each mean runs over.

`source`: some model of the protocol was trained on it. `shared`: it has a label word of a source. `zero-shot`: neither.
"""

from collections.abc import Iterable
from typing import NamedTuple

MEANS = {
    "all": ("source", "shared", "zero-shot"),  # the papers' 16 sets
    "zero-shot": ("shared", "zero-shot"),  # their 15, which nobody trained on
    "unrelated": ("zero-shot",),
    "source": ("source",),
}


class SetKey(NamedTuple):
    """A set in a protocol."""

    protocol: str
    dataset: str


class SetUse(NamedTuple):
    """What a set is to one model."""

    set: SetKey
    is_source: bool
    shares_words: bool


def kinds(uses: Iterable[SetUse]) -> dict[SetKey, str]:
    """The kind of each set, decided over all models: one that was trained on it makes it a source for all."""
    known: dict[SetKey, None] = {}
    sources, shared = set(), set()
    for use in uses:
        known[use.set] = None
        if use.is_source:
            sources.add(use.set)
        if use.shares_words:
            shared.add(use.set)
    return {key: "source" if key in sources else "shared" if key in shared else "zero-shot" for key in known}

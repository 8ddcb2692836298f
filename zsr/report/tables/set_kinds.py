"""What a set is to the models of its protocol, and which kinds of sets each mean runs over.

`source`: some model of the protocol was trained on it. `shared`: it has a label word of a source. `zero-shot`: neither.
"""

from collections.abc import Hashable, Iterable

MEANS = {
    "all": ("source", "shared", "zero-shot"),  # the papers' 16 sets
    "zero-shot": ("shared", "zero-shot"),  # their 15, which nobody trained on
    "unrelated": ("zero-shot",),
    "source": ("source",),
}


def kinds(seen: Iterable[tuple[Hashable, bool, bool]]) -> dict[Hashable, str]:
    """set -> its kind, from (set, is a model's source, shares words with it) of all models: one of them decides."""
    found: dict[Hashable, list[bool]] = {}
    for name, source, shared in seen:
        flags = found.setdefault(name, [False, False])
        flags[0] |= bool(source)
        flags[1] |= bool(shared)
    return {
        name: "source" if source else "shared" if shared else "zero-shot" for name, (source, shared) in found.items()
    }

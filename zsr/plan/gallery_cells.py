"""Selects the gallery's cells by a seeded random draw, so none are cherry-picked; a set has one attack and one ε.

The choice is part of the plan, so that the gallery is made again exactly when one of its own cells is.
"""

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zsr.plan.cell_request import CellRequest
    from zsr.plan.graph import PlannedJob

LIMIT = 160  # entries of a page, over all protocols: the page stays below 15 MB and a person reads them


def choose(cells: Iterable["PlannedJob"], requests: dict[str, "CellRequest"], seed: int) -> list["PlannedJob"]:
    """The cells of the gallery among those that store their examples, in the order of the config."""
    by_protocol: dict[str, list[PlannedJob]] = {}
    for cell in cells:
        request = requests[cell.record]
        if request.seed == request.model.seeds[0]:  # one seed of a model stands for it
            by_protocol.setdefault(cell.wildcards["protocol"], []).append(cell)
    share = LIMIT // max(1, len(by_protocol))
    return [cell for name, found in by_protocol.items() for cell in _one(found, f"{seed} {name}", share)]


def _one(cells: list["PlannedJob"], seed: str, limit: int) -> list["PlannedJob"]:
    """At most `limit` cells of one protocol: whole sets as long as they fit, each under one attack and ε."""
    models = _drawn(dict.fromkeys(cell.wildcards["model"] for cell in cells), limit, f"{seed} models")
    sets = _drawn(dict.fromkeys(cell.wildcards["dataset"] for cell in cells), limit // len(models), f"{seed} sets")
    chosen = []
    for dataset in sets:
        here = [cell for cell in cells if cell.wildcards["dataset"] == dataset]
        kinds = list(dict.fromkeys((cell.wildcards["attack"], cell.wildcards["eps"]) for cell in here))
        kind = random.Random(f"{seed} {dataset}").choice(kinds)
        chosen += [cell for cell in here if (cell.wildcards["attack"], cell.wildcards["eps"]) == kind]
    return [cell for cell in chosen if cell.wildcards["model"] in models]


def _drawn(names: Iterable[str], limit: int, seed: str) -> list[str]:
    """All names, or as many as the limit allows, drawn by seed and kept in their order."""
    names = list(names)
    kept = set(random.Random(seed).sample(names, min(len(names), max(1, limit))))
    return [name for name in names if name in kept]

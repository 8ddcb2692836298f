"""The evidence behind every number, small enough to travel inside the page.

1,440 cells with their specs, versions and file hashes are megabytes of text that repeats itself. `pack` stores every
distinct object once and refers to it by its index, and the page unpacks what the reader opens.
"""

import json
from collections.abc import Iterable
from typing import TypedDict

SHORT = 24  # strings up to this length are cheaper in place


class Packed(TypedDict):
    """Values without repetition.

    In the pool an object is {key: item} or [item, …] with items that are plain JSON scalars or {'$': index}.
    """

    pool: list[object]  # distinct objects, children before parents
    roots: list[int]  # where each of the given values is in the pool


def pack(values: Iterable[object]) -> Packed:
    """The values without repetition."""
    pool: list[object] = []
    known: dict[str, int] = {}  # JSON of an object -> its index in the pool

    def reduce(value: object) -> object:
        """The item that stands for a value."""
        if isinstance(value, dict):
            return store({str(k): reduce(v) for k, v in value.items()})
        if isinstance(value, (list, tuple)):
            return store([reduce(v) for v in value])
        if isinstance(value, float) and value != value:
            return None
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return str(value) if len(str(value)) <= SHORT else store(str(value))

    def store(value: object) -> dict[str, int]:
        text = json.dumps(value, sort_keys=True)
        if text not in known:
            known[text] = len(pool)
            pool.append(value)
        return {"$": known[text]}

    roots = [store({"value": reduce(value)})["$"] for value in values]
    return {"pool": pool, "roots": roots}

"""The evidence behind every number, small enough to travel inside the page.

1,440 cells with their specs, versions and file hashes are megabytes of text that repeats itself; `pack` stores every
distinct object once and refers to it by its place, and the page unpacks what the reader opens.
"""

import json
from collections.abc import Iterable

SHORT = 24  # strings up to this length are cheaper in place


def pack(values: Iterable[object]) -> dict[str, list]:
    """{'pool': distinct objects, children before parents; 'roots': places of the given values}.

    In the pool an object is {key: item} or [item, …] with items that are plain JSON scalars or {'$': place}.
    """
    pool: list[object] = []
    places: dict[str, int] = {}

    def reduce(value: object) -> object:
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
        if text not in places:
            places[text] = len(pool)
            pool.append(value)
        return {"$": places[text]}

    roots = [reduce({"value": value})["$"] for value in values]
    return {"pool": pool, "roots": roots}


def unpack(packed: dict[str, list]) -> list[object]:
    """The values again; the page's script does the same."""

    def expand(item: object) -> object:
        return build(packed["pool"][item["$"]]) if isinstance(item, dict) else item

    def build(stored: object) -> object:
        if isinstance(stored, dict):
            return {k: expand(v) for k, v in stored.items()}
        return [expand(v) for v in stored] if isinstance(stored, list) else stored

    return [build(packed["pool"][place])["value"] for place in packed["roots"]]

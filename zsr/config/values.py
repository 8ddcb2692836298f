"""What any value of a config may be: text, a finite number, true or false, nothing, a list, a mapping of text.

All else that YAML can make (dates, sets, bytes, NaN, lists that contain themselves) would end in a traceback later.
"""

import math
from collections.abc import Sequence
from typing import Any

from zsr.config.text import DEEPEST
from zsr.errors import ZsrError, short

MOST = 1_000_000  # values; anchors of anchors can stand for more than a machine holds
LONGEST = 100_000  # characters of a text: a spec may not be longer


def plain_copy(value: Any) -> Any:
    """A copy in which nothing stands twice: what YAML's anchors share would be completed once for all its places."""
    return _Copy().of(value, (), 0)


class _Copy:
    """One walk; it counts what it has seen."""

    def __init__(self) -> None:
        self.seen = 0

    def of(self, value: Any, place: tuple[str | int, ...], level: int) -> Any:
        self.seen += 1
        if level > DEEPEST:
            raise ZsrError(f"{place_of(place[:4])}: more than {DEEPEST} lists and mappings inside each other")
        if self.seen > MOST:
            raise ZsrError(f"{place_of(place[:4])}: the config holds more than {MOST:,} values")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise ZsrError(f"{place_of(place)}: the key {short(key)} is no text, as all keys are")
                _check_text(key, place_of(place))
            return {key: self.of(part, (*place, key), level + 1) for key, part in value.items()}
        if isinstance(value, list):
            return [self.of(part, (*place, i), level + 1) for i, part in enumerate(value)]
        return _scalar(value, place)


def _scalar(value: Any, place: tuple[str | int, ...]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ZsrError(f"{place_of(place)}: {value} is not a number that can be used; write a finite one")
    if isinstance(value, str):
        _check_text(value, place_of(place))
    elif not (value is None or isinstance(value, (bool, int, float))):
        kind = type(value).__name__
        raise ZsrError(
            f"{place_of(place)}: YAML reads {short(value)} as a {kind}, which no key takes; put it in quotes"
        )
    return value


def _check_text(text: str, where: str) -> None:
    """What a shell line and a JSON file can hold."""
    if len(text) > LONGEST:
        raise ZsrError(f"{where}: a text of {len(text):,} characters; at most {LONGEST:,} are read")
    if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text):
        raise ZsrError(f"{where}: {short(repr(text))} holds a character that no file can hold; take it out")


def refuse_twice(names: Sequence[str], where: str) -> None:
    """Raise if a list has two entries of one name."""
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ZsrError(f"{where}: the name '{twice}' stands twice; give each entry its own")


def place_of(path: Any) -> str:
    """`models[0].name`, from the keys and numbers that lead there."""
    text = "config"
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{short(part, 60)}"
    return text.removeprefix("config.")

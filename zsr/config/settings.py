"""Settings of components and recipes: what the config gives over a dataclass's defaults; names, types, ranges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zsr import registry
from zsr.config.entries import Settings, Written
from zsr.epsilon import as_float, exact
from zsr.errors import ZsrError, short, unknown

PAIR, NAMES = "tuple[float, float]", "tuple"
MOST = 10**9  # of any number: more steps, images or weight than any machine has time or digits for


@dataclass(frozen=True)
class Range:
    """Which numbers a setting may be: from `least` to `most`, the ends included unless `above` or `below` is set."""

    least: float = 0
    most: float = MOST
    above: bool = False
    below: bool = False


USUAL, POSITIVE, SHARE = Range(), Range(above=True), Range(most=1)
SEED, BATCH = Range(most=2**63 - 1), Range(most=10**6, above=True)
# settings that are not `USUAL`; a negative `clip` or weight would climb the loss
RECIPES = {
    **dict.fromkeys(("epochs", "steps", "largest_scale", "scale"), POSITIVE),
    **dict.fromkeys(("momentum", "beta2"), Range(most=1, below=True)),
    **dict.fromkeys(("batch", "text_batch"), BATCH),
    "processes": Range(most=1024, above=True),
}
RANGES: dict[str, dict[str, Range]] = {
    "attacks": {
        **dict.fromkeys(("alpha_max", "beta", "rho", "share"), SHARE),
        "p_init": Range(most=1, above=True),
        "eta": POSITIVE,
    },
    "methods": dict.fromkeys(("temperature", "map_size", "tensors"), POSITIVE),
    "data/readers": {"seed": SEED, "contrast": SHARE},
}


def settings_of(kind: str, name: str, given: Written, where: str) -> Settings:
    """The full settings of a component: its defaults, with what the config gives over them."""
    registry.component_path(kind, name, where)
    where = f"{where} ({name})"
    complete = check_settings(registry.describe(kind, name).settings, given, where)
    _check_ranges(complete, RANGES[kind], where)
    return complete


def check_settings(known: Mapping[str, registry.Setting], given: Written, where: str) -> Settings:
    """Names and types of `given` against the fields of a dataclass; returns them with the defaults."""
    complete: dict[str, Any] = {key: setting.default for key, setting in known.items() if not setting.required}
    for key, value in given.items():
        if key not in known:
            raise unknown("setting", key, known, where)
        complete[key] = _typed(value, known[key].annotation, f"{where}.{key}")
    for key, setting in known.items():
        if key not in complete:
            raise ZsrError(f"{where}: the setting '{key}' ({setting.annotation}) is missing")
    return complete


def recipe_of(file: str, kind: str, given: Written, where: str) -> Settings:
    """The full settings of a training recipe, the dataclass `kind` of a file of zsr/training/."""
    complete = check_settings(registry.fields_of(registry.PACKAGE / "training" / file, kind), given, where)
    _check_ranges(complete, RECIPES, where)
    return complete


def _check_ranges(settings: Settings, ranges: Mapping[str, Range], where: str) -> None:
    """Every number of the settings against the range of its name."""
    for name, value in settings.items():
        for number in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                _check_range(number, ranges.get(name, USUAL), f"{where}.{name}")


def _check_range(value: float, known: Range, where: str) -> None:
    if value < known.least or (known.above and value == known.least):
        raise ZsrError(f"{where}: {value} is {'not above' if known.above else 'less than'} {known.least}")
    if value > known.most or (known.below and value == known.most):
        raise ZsrError(f"{where}: {value} is {'not below' if known.below else 'more than'} {known.most}")


def _typed(value: Any, annotation: str, where: str) -> Any:
    """A value as its annotation says, or the mistake."""
    options = [part.strip() for part in annotation.split("|")]
    if annotation == "object" or (value is None and "None" in options):
        return value
    if annotation.startswith("Literal["):
        return _choice(value, annotation, where)
    for option in options:
        found = _as(value, option)
        if found is not None:
            return found
    raise ZsrError(f"{where}: {short(repr(value))} is not of type {annotation}")


def _choice(value: Any, annotation: str, where: str) -> str:
    choices = [part.strip().strip("'\"") for part in annotation[len("Literal[") : -1].split(",")]
    chosen = "off" if value is False and "off" in choices else value  # YAML reads `off` as false
    if chosen not in choices:
        raise unknown("value", value, choices, where)
    return chosen


def _as(value: Any, option: str) -> Any:
    """The value as one type of an annotation; None if it is not of it."""
    if option == NAMES:
        return value if isinstance(value, (list, tuple)) and all(isinstance(v, str) and v for v in value) else None
    if option == PAIR:
        numbers = isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value)
        return value if numbers and [type(v) is bool for v in value] == [False, False] else None
    if isinstance(value, bool) or option == "bool":
        return value if isinstance(value, bool) and option == "bool" else None
    if option == "int":
        return value if isinstance(value, int) else None
    if option == "str":
        return value if isinstance(value, str) else None
    return _float(value)


def _float(value: Any) -> float | None:
    """A number, also as text: YAML reads 1e-3 as text."""
    if not isinstance(value, (int, float, str)):
        return None
    number = exact(value)
    return None if number is None else as_float(number)

"""Settings of components and recipes: what the config gives over a dataclass's defaults, names and types checked."""

import math
from fractions import Fraction
from typing import Any

from zsr import registry
from zsr.errors import ZsrError, unknown

TYPES = {"int": int, "float": (int, float), "str": str, "bool": bool}
# the numbers of training recipes by what they may be; all others may not be negative
ABOVE_ZERO = ("epochs", "steps", "batch", "largest_scale", "scale", "processes")
BELOW_ONE = ("momentum", "beta2")


def settings_of(kind: str, name: str, given: dict, where: str) -> dict:
    """The full settings of a component: its defaults, with what the config gives over them."""
    registry.component_path(kind, name, where)
    return check_settings(registry.describe(kind, name).settings, given, f"{where} ({name})")


def check_settings(known: dict[str, registry.Setting], given: dict, where: str) -> dict:
    """Names and types of `given` against the fields of a dataclass; returns them with the defaults."""
    complete = {key: setting.default for key, setting in known.items() if not setting.required}
    for key, value in given.items():
        if key not in known:
            raise unknown("setting", key, known, where)
        complete[key] = _typed(value, known[key].annotation, f"{where}.{key}")
    for key, setting in known.items():
        if key not in complete:
            raise ZsrError(f"{where}: the setting '{key}' ({setting.annotation}) is missing")
    return complete


def check_recipe(known: dict[str, registry.Setting], given: dict, where: str) -> dict:
    """`check_settings` of a training recipe, whose numbers have ranges: a negative `clip` would climb the loss."""
    complete = check_settings(known, given, where)
    for name, value in complete.items():
        if isinstance(value, (bool, str)):
            continue
        if name in ABOVE_ZERO and value <= 0:
            raise ZsrError(f"{where}.{name}: {value} is not above 0")
        if value < 0 or (name in BELOW_ONE and value >= 1):
            raise ZsrError(f"{where}.{name}: {value} is {'less than 0' if value < 0 else 'not below 1'}")
    return complete


def _typed(value: Any, annotation: str, where: str) -> Any:
    options = [part.strip() for part in annotation.split("|")]
    if value is None and "None" in options:
        return None
    if annotation.startswith("Literal["):
        choices = [part.strip().strip("'\"") for part in annotation[len("Literal[") : -1].split(",")]
        chosen = "off" if value is False else str(value)  # YAML reads `off` as false
        if chosen not in choices:
            raise unknown("value", value, choices, where)
        return chosen
    for option in options:
        kind = TYPES.get(option)
        if kind is None and option != "None":
            return value  # tuples, dicts: their component checks them
        if kind and isinstance(value, kind) and not (isinstance(value, bool) and option != "bool"):
            return _number(float(value), where) if option == "float" else value
        if option == "float" and isinstance(value, str):  # YAML reads 1e-3 as a string
            try:
                return _number(float(Fraction(value.replace(" ", ""))) if "/" in value else float(value), where)
            except ValueError:
                continue
    raise ZsrError(f"{where}: {value!r} is not of type {annotation}")


def _number(value: float, where: str) -> float:
    if math.isnan(value):
        raise ZsrError(f"{where}: nan is not a number")
    return value

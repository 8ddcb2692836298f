"""The shape of a config against its JSON schema: defaults filled in, the first mistake as one line with its place."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from zsr.config.values import place_of
from zsr.errors import ZsrError, short, unknown
from zsr.registry import ROOT

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
BOUNDS = {
    "minimum": "is less than {}",
    "maximum": "is more than {}",
    "exclusiveMinimum": "is not above {}",
    "minLength": "is shorter than {} characters",
    "maxLength": "is longer than {} characters",
}
NO_LINE_END = r"(?!\n)"  # `$` matches before a line end too


def check_schema(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the schema's defaults; the first thing that has not its shape is a mistake."""
    from jsonschema import Draft202012Validator  # 0.2 s: only where a config is read
    from jsonschema.validators import extend

    schema = _schema()
    if "datasets" in config:
        raise unknown("key", "datasets", schema["properties"], "config")
    filled: dict[str, Any] = _filled(dict(config), schema, schema)
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: _whole(value))
    validator = extend(Draft202012Validator, type_checker=types)(schema)
    errors = sorted(validator.iter_errors(filled), key=lambda e: (len(e.absolute_path), e.message))
    if errors:
        raise _readable(errors[0])
    return filled


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    return schema


def _whole(value: Any) -> bool:
    """JSON schema takes 24.0 for a whole number, Python's slices do not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _filled(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A value with the schema's defaults where a key is missing, at every depth."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rsplit("/")[-1]], **schema}
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        defaults = {key: part["default"] for key, part in parts.items() if key not in value and "default" in part}
        return {key: _filled(part, parts.get(key, {}), root) for key, part in {**value, **defaults}.items()}
    if isinstance(value, list):
        return [_filled(item, schema.get("items", {}), root) for item in value]
    return value


def _readable(error: Any) -> ZsrError:
    where = place_of(error.absolute_path)
    if error.validator == "additionalProperties":
        extra = sorted(set(error.instance) - set(error.schema["properties"]))[0]
        return unknown("key", extra, error.schema["properties"], where)
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return ZsrError(f"{where}: the key '{missing[0]}' is missing")
    if error.validator == "type":
        wanted = error.validator_value
        wanted = wanted if isinstance(wanted, str) else " or ".join(wanted)
        return ZsrError(f"{where}: {shown(error.instance)} is not of type {wanted}")
    if error.validator == "enum":
        return unknown("value", error.instance, [str(v) for v in error.validator_value], where)
    if error.validator == "minItems" and not error.instance:
        return ZsrError(f"{where}: the list is empty; it needs at least {error.validator_value} entry")
    if error.validator in ("minItems", "maxItems"):
        bound = "least" if error.validator == "minItems" else "most"
        return ZsrError(f"{where}: {len(error.instance)} entries; it needs at {bound} {error.validator_value}")
    if error.validator == "uniqueItems":
        return ZsrError(f"{where}: an entry stands twice in {shown(error.instance)}")
    if error.validator == "pattern":
        return ZsrError(
            f"{where}: {shown(error.instance)} does not have the form {error.validator_value.removesuffix(NO_LINE_END)}"
        )
    if error.validator in BOUNDS:
        return ZsrError(f"{where}: {shown(error.instance)} {BOUNDS[error.validator].format(error.validator_value)}")
    return ZsrError(f"{where}: {short(error.message)}")


def shown(value: Any) -> str:
    """A value of a config as a message shows it."""
    return short(repr(value))

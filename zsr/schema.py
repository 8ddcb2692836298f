"""The shape of a config against its JSON schema: defaults filled in, the first mistake as one line with its place."""

import copy
from typing import Any

import yaml

from zsr.errors import ZsrError, unknown
from zsr.registry import ROOT

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
NO_LINE_END = r"(?!\n)"  # `$` matches before a line end too


def check_schema(config: dict) -> None:
    from jsonschema import Draft202012Validator  # 0.2 s: only where a config is read

    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    if "datasets" in config:
        raise unknown("key", "datasets", schema["properties"], "config")
    _fill(config, schema, schema)
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda e: (len(e.absolute_path), e.message))
    if errors:
        raise _readable(errors[0])


def _fill(value: Any, schema: dict, root: dict) -> None:
    """Put the schema's defaults where a key is missing, depth first."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rsplit("/")[-1]], **schema}
    if isinstance(value, dict):
        for key, part in schema.get("properties", {}).items():
            if key not in value and "default" in part:
                value[key] = copy.deepcopy(part["default"])
            if key in value:
                _fill(value[key], part, root)
    elif isinstance(value, list):
        for item in value:
            _fill(item, schema.get("items", {}), root)


def _readable(error: Any) -> ZsrError:
    where = _place(error.absolute_path)
    if error.validator == "additionalProperties":
        extra = sorted(set(error.instance) - set(error.schema["properties"]))[0]
        return unknown("key", extra, error.schema["properties"], where)
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return ZsrError(f"{where}: the key '{missing[0]}' is missing")
    if error.validator == "type":
        wanted = error.validator_value
        wanted = wanted if isinstance(wanted, str) else " or ".join(wanted)
        return ZsrError(f"{where}: {error.instance!r} is not of type {wanted}")
    if error.validator == "enum":
        return unknown("value", error.instance, [str(v) for v in error.validator_value], where)
    if error.validator == "minItems" and not error.instance:
        return ZsrError(f"{where}: the list is empty; it needs at least {error.validator_value} entry")
    if error.validator in ("minItems", "maxItems"):
        bound = "least" if error.validator == "minItems" else "most"
        return ZsrError(f"{where}: {len(error.instance)} entries; it needs at {bound} {error.validator_value}")
    if error.validator == "uniqueItems":
        return ZsrError(f"{where}: an entry stands twice in {error.instance}")
    if error.validator == "pattern":
        return ZsrError(
            f"{where}: {error.instance!r} does not have the form {error.validator_value.removesuffix(NO_LINE_END)}"
        )
    return ZsrError(f"{where}: {error.message}")


def _place(path: Any) -> str:
    text = "config"
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix("config.")

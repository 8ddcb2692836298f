"""From the text of a config to a complete, checked one: defaults filled in, every mistake one line with its cure.

The JSON schema (workflow/schemas/config.schema.yaml) knows the shape; the names and settings of methods, attacks and
readers are known from their files (`zsr.registry`), recipes from their dataclasses. Nothing here imports torch.
"""

import copy
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from zsr import registry
from zsr.epsilon import eps_of
from zsr.errors import ZsrError, unknown
from zsr.registry import PACKAGE, ROOT

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
SETS = PACKAGE / "data" / "sets"
ARCHS = PACKAGE / "models" / "archs"
TYPES = {"int": int, "float": (int, float), "str": str, "bool": bool}


def read(path: Path) -> dict:
    """One config file as it was written; `zsr.plan` completes it."""
    if not path.is_file():
        raise ZsrError(f"{path}: no such config file")
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ZsrError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ZsrError(f"{path}: a config is a mapping of keys, see config.yaml")
    return raw


def complete(raw: dict) -> dict:
    """Check a config and fill in every default; the argument is left as it is."""
    config = copy.deepcopy(raw)
    _check_schema(config)
    _check_unique(config)
    config["datasets"] = {name: _dataset(config, name, where) for name, where in _datasets_used(config).items()}
    for i, backbone in enumerate(config["backbones"]):
        _complete_backbone(config, backbone, f"backbones[{i}] '{backbone['name']}'")
    _complete_finetune(config)
    for i, model in enumerate(config["models"]):
        _complete_model(config, model, f"models[{i}] '{model['name']}'")
    for i, protocol in enumerate(config["protocols"]):
        _complete_protocol(config, protocol, f"protocols[{i}] '{protocol['name']}'")
    return config


# -- the schema ------------------------------------------------------------------------------------------------------


def _check_schema(config: dict) -> None:
    from jsonschema import Draft202012Validator  # 0.2 s: only where a config is read

    schema = yaml.safe_load(SCHEMA.read_text())
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
    if error.validator == "minItems":
        return ZsrError(f"{where}: the list is empty; it needs at least {error.validator_value} entry")
    if error.validator == "uniqueItems":
        return ZsrError(f"{where}: an entry stands twice in {error.instance}")
    if error.validator == "pattern":
        return ZsrError(f"{where}: {error.instance!r} does not have the form {error.validator_value}")
    return ZsrError(f"{where}: {error.message}")


def _place(path: Any) -> str:
    text = "config"
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix("config.")


def _check_unique(config: dict) -> None:
    lists = [("backbones", config["backbones"]), ("models", config["models"]), ("data", config["data"])]
    lists += [("protocols", config["protocols"])]
    lists += [(f"protocols '{p['name']}' attacks", p["attacks"]) for p in config["protocols"]]
    for where, entries in lists:
        seen: set[str] = set()
        for entry in entries:
            if entry["name"] in seen:
                raise ZsrError(f"{where}: the name '{entry['name']}' stands twice; give each entry its own")
            seen.add(entry["name"])


# -- datasets --------------------------------------------------------------------------------------------------------


def known_datasets() -> list[str]:
    """The datasets that come with zsr."""
    return sorted(path.stem for path in SETS.glob("*.yaml"))


def _datasets_used(config: dict) -> dict[str, str]:
    """dataset -> the first place of the config that names it."""
    used: dict[str, str] = {}
    for i, backbone in enumerate(config["backbones"]):
        if "pretrain" in backbone:
            used.setdefault(backbone["pretrain"]["dataset"], f"backbones[{i}].pretrain.dataset")
    used.setdefault(config["finetune"]["dataset"], "finetune.dataset")
    for i, model in enumerate(config["models"]):
        if "dataset" in model["recipe"]:
            used.setdefault(model["recipe"]["dataset"], f"models[{i}].recipe.dataset")
    for i, protocol in enumerate(config["protocols"]):
        for j, name in enumerate(protocol["datasets"]):
            used.setdefault(name, f"protocols[{i}].datasets[{j}]")
    return used


@cache
def _set_file(name: str) -> dict:
    return yaml.safe_load((SETS / f"{name}.yaml").read_text())


def _dataset(config: dict, name: str, where: str) -> dict:
    """The complete definition of a dataset: the config's entry over the file's."""
    own = {entry["name"]: entry for entry in config["data"]}
    if name in own:
        entry = {key: value for key, value in own[name].items() if key not in ("name", "like")}
        base = own[name].get("like", name if name in known_datasets() else None)
        if base is not None and base not in known_datasets():
            raise unknown("dataset", base, known_datasets(), f"data '{name}'.like")
        found = _merge(_set_file(base), entry) if base else entry
    elif name in known_datasets():
        found = copy.deepcopy(_set_file(name))
    else:
        raise unknown("dataset", name, set(own) | set(known_datasets()), where)
    for key in ("reader", "splits"):
        if key not in found:
            raise ZsrError(f"data '{name}': the key '{key}' is missing; a dataset needs a reader and its splits' sizes")
    found["options"] = settings_of(
        "data/readers", found["reader"], found.get("options", {}), f"dataset '{name}'.options"
    )
    classes = found.setdefault("classes", [])
    if len(set(classes)) != len(classes):
        twice = next(c for c in classes if classes.count(c) > 1)
        raise ZsrError(f"dataset '{name}': the class name '{twice}' stands twice; a prompt must mean one class")
    found.setdefault("templates", ["a photo of a {}"])
    for key in ("source", "licence", "about"):
        found.setdefault(key, "")
    return found


def _merge(base: dict, over: dict) -> dict:
    merged = copy.deepcopy(base)
    for key, value in over.items():
        merged[key] = {**merged[key], **value} if isinstance(merged.get(key), dict) else value
    return merged


def _need_split(config: dict, dataset: str, split: str, where: str) -> int:
    splits = config["datasets"][dataset]["splits"]
    if split not in splits:
        raise unknown("split", split, splits, f"{where} of '{dataset}'")
    return splits[split]


# -- settings of components ------------------------------------------------------------------------------------------


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


def _typed(value: Any, annotation: str, where: str) -> Any:
    options = [part.strip() for part in annotation.split("|")]
    if value is None and "None" in options:
        return None
    if annotation.startswith("Literal["):
        choices = [part.strip().strip("'\"") for part in annotation[len("Literal[") : -1].split(",")]
        if str(value) not in choices:
            raise unknown("value", value, choices, where)
        return value
    for option in options:
        kind = TYPES.get(option)
        if kind is None and option != "None":
            return value  # tuples, dicts: their component checks them
        if kind and isinstance(value, kind) and not (isinstance(value, bool) and option != "bool"):
            return float(value) if option == "float" else value
        if option == "float" and isinstance(value, str):  # YAML reads 1e-3 as a string
            try:
                return float(Fraction(value.replace(" ", ""))) if "/" in value else float(value)
            except ValueError:
                continue
    raise ZsrError(f"{where}: {value!r} is not of type {annotation}")


# -- sections --------------------------------------------------------------------------------------------------------


def _complete_backbone(config: dict, backbone: dict, where: str) -> None:
    known = sorted(path.stem for path in ARCHS.glob("*.yaml"))
    if backbone["arch"] not in known:
        raise unknown("backbone architecture", backbone["arch"], known, f"{where}.arch")
    backbone["definition"] = yaml.safe_load((ARCHS / f"{backbone['arch']}.yaml").read_text())
    if "pretrain" not in backbone:
        raise ZsrError(f"{where}: the key 'pretrain' is missing; '{backbone['arch']}' has no weights to start from")
    recipe = dict(backbone["pretrain"])
    dataset, split = recipe.pop("dataset"), recipe.pop("split")
    _need_split(config, dataset, split, f"{where}.pretrain.split")
    fields = registry.fields_of(PACKAGE / "pretrain.py", "PretrainRecipe")
    recipe = check_settings(fields, recipe, f"{where}.pretrain")
    backbone["pretrain"] = {"dataset": dataset, "split": split, "recipe": recipe}


def _complete_finetune(config: dict) -> None:
    given = config["finetune"]
    config["finetune"] = {
        "eps": eps_of(given["eps"], "finetune.eps"),
        "given": {k: v for k, v in given.items() if k != "eps"},
    }
    _recipe(config, {}, "finetune")


def _recipe(config: dict, over: dict, where: str) -> dict:
    """The training recipe of one model: `finetune`, with the model's own keys over it."""
    merged = {**config["finetune"]["given"], **over}
    dataset, split = merged.pop("dataset"), merged.pop("split")
    _need_split(config, dataset, split, f"{where}.split")
    if not config["datasets"][dataset]["classes"]:
        raise ZsrError(f"{where}: the source dataset '{dataset}' has no classes to fine-tune on")
    recipe = check_settings(registry.fields_of(PACKAGE / "recipe.py", "Recipe"), merged, where)
    return {"dataset": dataset, "split": split, "recipe": recipe}


def _complete_model(config: dict, model: dict, where: str) -> None:
    known = [backbone["name"] for backbone in config["backbones"]]
    model.setdefault("backbones", known)
    for name in model["backbones"]:
        if name not in known:
            raise unknown("backbone", name, known, f"{where}.backbones")
    model["settings"] = settings_of("methods", model["method"], model["settings"], where)
    constants = registry.describe("methods", model["method"]).constants
    model["trains"] = constants["trains"]
    if not model["trains"] and ("eps" in model or model["recipe"] or "seeds" in model):
        raise ZsrError(f"{where}: '{model['method']}' does not train; take out its eps, seeds and recipe")
    model.setdefault("seeds", [config["seed"]])
    model["eps"] = eps_of(model["eps"], f"{where}.eps") if "eps" in model else config["finetune"]["eps"]
    model["source"] = _recipe(config, model.pop("recipe"), f"{where}.recipe")


def _complete_protocol(config: dict, protocol: dict, where: str) -> None:
    for name in protocol["datasets"]:
        size = _need_split(config, name, protocol["split"], f"{where}.split")
        if protocol["images"] > size:
            raise ZsrError(
                f"{where}: images: {protocol['images']} is more than the {size} of '{name}' ({protocol['split']}); "
                f"ask for at most {size}"
            )
        if len(config["datasets"][name]["classes"]) < 2:
            raise ZsrError(f"{where}: '{name}' has fewer than two classes; nothing to classify")
    for j, entry in enumerate(protocol["attacks"]):
        given = {key: value for key, value in entry.items() if key not in ("name", "attack")}
        place = f"{where}.attacks[{j}]"
        settings = settings_of("attacks", entry["attack"], given, place)
        if (
            protocol["verdict"] == "last"
            and not registry.describe("attacks", entry["attack"]).constants["last_iterate"]
        ):
            raise ZsrError(f"{place}: '{entry['attack']}' has no last iterate; write verdict: any")
        protocol["attacks"][j] = {"name": entry["name"], "attack": entry["attack"], "settings": settings}
    values = [eps_of(value, f"{where}.eps[{j}]") for j, value in enumerate(protocol["eps"])]
    if len(set(values)) != len(values):
        raise ZsrError(f"{where}.eps: a value stands twice in {protocol['eps']}")
    protocol["eps"] = values

"""Datasets as the config means them: the files of zsr/data/sets/, with the config's own entries over them."""

import copy
from functools import cache

import yaml

from zsr.errors import ZsrError, unknown
from zsr.registry import PACKAGE
from zsr.settings import settings_of

SETS = PACKAGE / "data" / "sets"


def known_datasets() -> list[str]:
    """The datasets that come with zsr."""
    return sorted(path.stem for path in SETS.glob("*.yaml"))


def datasets_used(config: dict) -> dict[str, str]:
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


def definition(config: dict, name: str, where: str) -> dict:
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


def need_split(config: dict, dataset: str, split: str, where: str) -> int:
    splits = config["datasets"][dataset]["splits"]
    if split not in splits:
        raise unknown("split", split, splits, f"{where} of '{dataset}'")
    return splits[split]

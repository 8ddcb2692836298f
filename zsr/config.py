"""From the text of a config to a complete, checked one: defaults filled in, every mistake one line with its cure.

The JSON schema (workflow/schemas/config.schema.yaml) knows the shape; the names and settings of methods, attacks and
readers are known from their files (`zsr.registry`), recipes from their dataclasses. Nothing here imports torch.
"""

import copy
from pathlib import Path

import yaml

from zsr import registry
from zsr.datasets import datasets_used, definition, need_split
from zsr.epsilon import eps_of
from zsr.errors import ZsrError, unknown
from zsr.registry import PACKAGE
from zsr.schema import check_schema
from zsr.settings import check_settings, settings_of

ARCHS = PACKAGE / "models" / "archs"


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
    check_schema(config)
    _check_unique(config)
    config["datasets"] = {name: definition(config, name, where) for name, where in datasets_used(config).items()}
    for i, backbone in enumerate(config["backbones"]):
        _complete_backbone(config, backbone, f"backbones[{i}] '{backbone['name']}'")
    _complete_finetune(config)
    for i, model in enumerate(config["models"]):
        _complete_model(config, model, f"models[{i}] '{model['name']}'")
    for i, protocol in enumerate(config["protocols"]):
        _complete_protocol(config, protocol, f"protocols[{i}] '{protocol['name']}'")
    return config


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


def _complete_backbone(config: dict, backbone: dict, where: str) -> None:
    known = sorted(path.stem for path in ARCHS.glob("*.yaml"))
    if backbone["arch"] not in known:
        raise unknown("backbone architecture", backbone["arch"], known, f"{where}.arch")
    backbone["definition"] = yaml.safe_load((ARCHS / f"{backbone['arch']}.yaml").read_text())
    if "pretrain" not in backbone:
        raise ZsrError(f"{where}: the key 'pretrain' is missing; '{backbone['arch']}' has no weights to start from")
    recipe = dict(backbone["pretrain"])
    dataset, split = recipe.pop("dataset"), recipe.pop("split")
    need_split(config, dataset, split, f"{where}.pretrain.split")
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
    need_split(config, dataset, split, f"{where}.split")
    if not config["datasets"][dataset]["classes"]:
        raise ZsrError(f"{where}: the source dataset '{dataset}' has no classes to fine-tune on")
    recipe = check_settings(registry.fields_of(PACKAGE / "recipe.py", "Recipe"), merged, where)
    return {"dataset": dataset, "split": split, "recipe": recipe}


def _complete_model(config: dict, model: dict, where: str) -> None:
    known = {backbone["name"]: backbone["definition"] for backbone in config["backbones"]}
    model.setdefault("backbones", list(known))
    model["settings"] = settings_of("methods", model["method"], model["settings"], where)
    constants = registry.describe("methods", model["method"]).constants
    for name in model["backbones"]:
        if name not in known:
            raise unknown("backbone", name, known, f"{where}.backbones")
        if constants["needs_tokens"] and isinstance(known[name]["vision_cfg"]["layers"], list):
            raise ZsrError(
                f"{where}: '{model['method']}' needs a VisionTransformer, '{name}' is a ResNet; name the others in "
                "`backbones`"
            )
    model["trains"] = constants["trains"]
    if not model["trains"] and ("eps" in model or model["recipe"] or "seeds" in model):
        raise ZsrError(f"{where}: '{model['method']}' does not train; take out its eps, seeds and recipe")
    model.setdefault("seeds", [config["seed"]])
    model["eps"] = eps_of(model["eps"], f"{where}.eps") if "eps" in model else config["finetune"]["eps"]
    model["source"] = _recipe(config, model.pop("recipe"), f"{where}.recipe")


def _complete_protocol(config: dict, protocol: dict, where: str) -> None:
    for name in protocol["datasets"]:
        size = need_split(config, name, protocol["split"], f"{where}.split")
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

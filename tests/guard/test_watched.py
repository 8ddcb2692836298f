"""Every method and every attack in real jobs: what they import and read of the project is in their fingerprint.

Jobs refuse what is not (zsr/guard/watch.py, held by test_guard.py), so that a run that ends well is the proof.
"""

import pytest
import yaml
from support.project import MINI, ROOT

from zsr import registry

pytestmark = pytest.mark.slow
RECIPE = {"epochs": 1, "images": 32, "batch": 32, "warmup": 1, "attack_steps": 1}
ATTACKS = {
    "autoattack": {"steps": 2, "targets": 2, "queries": 4},
    "autoattack-plus": {"steps": 2, "targets": 2, "queries": 4, "restarts": 1},
    "autoattack-reference": {"only": "apgd-ce"},
    "square": {"queries": 4},
    "transfer": {"steps": 2, "surrogate": "tecoa"},
}


def all_methods() -> dict:
    """One model of each method that needs no file, with the settings of config/methods.yaml."""
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    shipped = yaml.safe_load((ROOT / "config" / "methods.yaml").read_text(encoding="utf-8"))
    first = {entry.get("method", entry["name"]): entry for entry in reversed(shipped["models"])}
    models = [{**entry, "backbones": ["vit"]} for entry in first.values()]
    for model in models:
        if model["name"] not in ("clip", "mix"):
            model |= {
                "seeds": [0],
                "recipe": {**RECIPE, "dataset": model.get("recipe", {}).get("dataset", "mini-source")},
            }
    config["data"] += shipped["data"]
    config["models"] = models
    pgd = {"name": "pgd", "attack": "pgd", "steps": 1}
    config["protocols"] = [
        {"name": "look", "datasets": ["drawn-digits"], "attacks": [pgd], "eps": ["1/255"], "images": 8}
    ]
    return config


def all_attacks() -> dict:
    """Each attack, short, on two models."""
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    config["models"] = [model for model in config["models"] if model["name"] in ("clip", "tecoa")]
    attacks = [{"name": name, "attack": name, **ATTACKS.get(name, {"steps": 2})} for name in registry.names("attacks")]
    config["protocols"] = [
        {"name": "all", "datasets": ["mini-source"], "attacks": attacks, "eps": ["1/255"], "images": 4, "store": "none"}
    ]
    for model in config["models"]:
        model["backbones"] = ["vit"]
    return config


def test_every_method_stays_inside_its_fingerprint(copy):
    config = all_methods()
    known = {model.get("method") for model in config["models"]} | {"published"}  # a file; test_published.py
    assert set(registry.names("methods")) <= known
    copy.configure(config)
    copy.snakemake("--keep-going")


def test_every_attack_stays_inside_its_fingerprint(copy):
    config = all_attacks()
    copy.configure(config)
    copy.snakemake("--keep-going")

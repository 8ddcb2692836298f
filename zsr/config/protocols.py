"""Protocols as the config means them: the files of zsr/protocols/, with the config's own entries over them.

A protocol is data: attacks with all settings, verdict, precision, datasets, ε, number of images. Its name is part of
the path of every result, so numbers of two protocols never meet. Nothing here imports torch.
"""

import copy
from fractions import Fraction
from functools import cache
from typing import Any

import yaml

from zsr import registry
from zsr.config.datasets import need_split
from zsr.config.settings import settings_of
from zsr.data import transforms
from zsr.epsilon import check_counts, eps_of, eps_text, length
from zsr.errors import ZsrError, unknown
from zsr.registry import PACKAGE

FILES = PACKAGE / "protocols"
OWN = ("name", "attack", "after", "verdict", "source")  # keys of an attack's entry that are no settings of the attack
SHARD_IMAGES = 5000  # of a job, with `shards: auto`: AutoAttack on a ViT-B/32 takes some hours for so many


def known_protocols() -> list[str]:
    """The protocols that come with zsr."""
    return sorted(path.stem for path in FILES.glob("*.yaml"))


def fill_in(config: dict) -> None:
    """Put what `like` names under each protocol's own keys; a bare name is a ready-made protocol as it stands.

    Runs before the schema, which sees whole protocols; what has not the shape of one is left for it to refuse.
    """
    entries = config.get("protocols")
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, str):
            entry = {"name": entry, "like": entry}
        if isinstance(entry, dict) and "like" in entry:
            if entry["like"] not in known_protocols():
                raise unknown("protocol", entry["like"], known_protocols(), f"protocols[{i}].like")
            entry = {**copy.deepcopy(_file(entry["like"])), **entry}
        entries[i] = entry


@cache
def _file(name: str) -> dict[str, Any]:
    return yaml.safe_load((FILES / f"{name}.yaml").read_text(encoding="utf-8"))


def complete(config: dict, protocol: dict, where: str) -> None:
    """Check one protocol and fill in the settings of its attacks."""
    _check_images(config, protocol, where)
    protocol["transforms"] = {
        name: transforms.choose(protocol["transform"], config["datasets"][name], f"{where}.transform ('{name}')")
        for name in protocol["datasets"]
    }
    for j, entry in enumerate(protocol["attacks"]):
        protocol["attacks"][j] = _attack(protocol, entry, j, f"{where}.attacks[{j}]")
        _check_source(config, protocol["attacks"][j], f"{where}.attacks[{j}]")
    values = [eps_of(value, f"{where}.eps[{j}]", protocol["norm"]) for j, value in enumerate(protocol["eps"])]
    if len({eps_text(eps) for eps in values}) != len(values):
        raise ZsrError(f"{where}.eps: a value stands twice in {protocol['eps']}")
    protocol["eps"] = values
    store = protocol["store"]
    if not (isinstance(store, int) and store > 0) and store not in ("none", "examples"):
        raise ZsrError(f"{where}.store: '{store}' is neither none, examples, nor how many of them for each cell")


def _check_images(config: dict, protocol: dict, where: str) -> None:
    count = protocol["images"]
    if isinstance(count, str) and count != "all":
        raise ZsrError(f"{where}.images: '{count}' is neither a number of images nor 'all'")
    if isinstance(protocol["shards"], str) and protocol["shards"] != "auto":
        raise ZsrError(f"{where}.shards: '{protocol['shards']}' is neither a number of jobs nor 'auto'")
    for name in protocol["datasets"]:
        size = need_split(config, name, protocol["split"], f"{where}.split")
        if count != "all" and count > size:
            raise ZsrError(
                f"{where}: images: {count} is more than the {size} of '{name}' ({protocol['split']}); "
                f"ask for at most {size}, or for all"
            )
        if shards(config, protocol, name) > images(config, protocol, name):
            raise ZsrError(
                f"{where}: {protocol['shards']} shards of {images(config, protocol, name)} images; ask for fewer"
            )
        if len(config["datasets"][name]["classes"]) < 2:
            raise ZsrError(f"{where}: '{name}' has fewer than two classes; nothing to classify")
        if not config["datasets"][name]["labelled"]:
            raise ZsrError(f"{where}: '{name}' is not labelled; nothing to count as correct")
        _check_half(config["datasets"][name], name, protocol["split"], count, where)


def _check_half(about: dict, name: str, split: str, count: int | str, where: str) -> None:
    """Where a half of the classes does not say how many images it holds, it is asked for no more than its share."""
    share = about["splits"][split] * len(about["classes"]) // about["of"]
    if split in about["uncounted"] and (count == "all" or count > share):
        raise ZsrError(
            f"{where}: images: {count} of '{name}', which has half of a set's classes and does not say how many images "
            f"these have; write `splits: {{{split}: …}}` in data '{name}'"
        )


def _attack(protocol: dict, entry: dict, place: int, where: str) -> dict:
    """One attack with its settings, the verdict that its iterates get, and the attack that it comes after."""
    given = {key: value for key, value in entry.items() if key not in OWN}
    settings = settings_of("attacks", entry["attack"], given, where)
    check_counts(settings, where)
    if "step_size" in settings:
        length(settings["step_size"], 1.0, f"{where}.step_size")
    verdict = entry.get("verdict", protocol["verdict"])
    if verdict == "last" and not registry.describe("attacks", entry["attack"]).constants["last_iterate"]:
        raise ZsrError(f"{where}: '{entry['attack']}' has no last iterate; write verdict: any")
    earlier = [other["name"] for other in protocol["attacks"][:place]]
    if "after" in entry and entry["after"] not in earlier:
        if entry["after"] in [other["name"] for other in protocol["attacks"]]:
            raise ZsrError(f"{where}.after: '{entry['after']}' stands further down; list it before '{entry['name']}'")
        raise unknown("attack", entry["after"], earlier, f"{where}.after")
    return {
        "name": entry["name"],
        "attack": entry["attack"],
        "settings": settings,
        "verdict": verdict,
        "after": entry.get("after"),
        "source": entry.get("source"),
    }


def _check_source(config: dict, attack: dict, where: str) -> None:
    """Whether the model that examples are made on is one of the config, on every backbone that is attacked."""
    kind, name = attack["attack"], attack["source"]
    needed = "source" in attack["settings"]  # given to `zsr.attacks.attack` as a model, in the config by its name
    attack["settings"].pop("source", None)
    if not needed:
        if name is not None:
            raise ZsrError(f"{where}: '{kind}' makes its examples on the model under attack; take out `source`")
        return
    if name is None:
        raise ZsrError(f"{where}: '{kind}' makes its examples on a second model; name one of the config as `source`")
    models = {model["name"]: model for model in config["models"]}
    if name not in models:
        raise unknown("model", name, models, f"{where}.source")
    if not models[name]["zero_shot"]:
        raise ZsrError(f"{where}.source: '{name}' is not zero-shot: it knows its own classes alone; name another model")
    for model in models.values():
        for backbone in model["backbones"]:
            if backbone not in models[name]["backbones"]:
                raise ZsrError(
                    f"{where}.source: '{name}' is not made on backbone '{backbone}', on which '{model['name']}' is "
                    "attacked; name a model that is made on all of them"
                )


def images(config: dict, protocol: dict, dataset: str) -> int:
    """How many images of a dataset a protocol takes."""
    count = protocol["images"]
    return config["datasets"][dataset]["splits"][protocol["split"]] if count == "all" else count


def shards(config: dict, protocol: dict, dataset: str) -> int:
    """How many jobs share the images of a cell on a dataset."""
    wanted = protocol["shards"]
    return -(-images(config, protocol, dataset) // SHARD_IMAGES) if wanted == "auto" else wanted


def follows(protocol: dict, attack: dict, eps: Fraction) -> dict[str, tuple[dict, Fraction]]:
    """role -> (attack, ε) of the cells whose fallen images this one does not attack again."""
    found = {}
    if attack["after"]:
        found["before"] = next(other for other in protocol["attacks"] if other["name"] == attack["after"]), eps
    smaller = [other for other in protocol["eps"] if other < eps]
    if protocol["chain_eps"] and smaller:
        found["smaller"] = attack, max(smaller)
    return found

"""Protocols as the config means them: the files of zsr/protocols/, with the config's own entries over them.

A protocol is data: attacks with all settings, verdict, precision, datasets, ε, number of images. Its name is part of
the path of every result, so numbers of two protocols never meet. Nothing here imports torch.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import yaml

from zsr import registry
from zsr.config.datasets import need_split, transform_of
from zsr.config.entries import (
    AttackEntry,
    DatasetDefinition,
    Datasets,
    EvaluationSet,
    ModelEntry,
    ProtocolEntry,
    Written,
)
from zsr.config.settings import settings_of
from zsr.epsilon import check_counts, eps_of, eps_text, length
from zsr.errors import ZsrError, unknown
from zsr.registry import PACKAGE

FILES = PACKAGE / "protocols"
# keys of an attack's entry that are no settings of the attack
OWN = ("name", "attack", "after", "verdict", "surrogate")
SHARD_IMAGES = 5000  # of a job, with `shards: auto`: AutoAttack on a ViT-B/32 takes some hours for so many

Models = Mapping[str, ModelEntry]


@cache
def known_protocols() -> tuple[str, ...]:
    """The protocols that come with zsr."""
    return tuple(sorted(path.stem for path in FILES.glob("*.yaml")))


def with_ready_made(raw: Written) -> dict[str, Any]:
    """The config with what `like` names under each protocol's own keys; a bare name is a ready-made protocol.

    Runs before the schema, which sees whole protocols; what has not the shape of one is left for it to refuse.
    """
    entries = raw.get("protocols")
    if not isinstance(entries, list):
        return dict(raw)
    return {**raw, "protocols": [_with_ready_made(entry, i) for i, entry in enumerate(entries)]}


def _with_ready_made(entry: object, place: int) -> object:
    if isinstance(entry, str):
        entry = {"name": entry, "like": entry}
    if not isinstance(entry, dict) or "like" not in entry:
        return entry
    if entry["like"] not in known_protocols():
        raise unknown("protocol", entry["like"], known_protocols(), f"protocols[{place}].like")
    return {**_file(entry["like"]), **entry}


@cache
def _file(name: str) -> dict[str, Any]:
    ready: dict[str, Any] = yaml.safe_load((FILES / f"{name}.yaml").read_text(encoding="utf-8"))
    return ready


def complete_protocols(entries: Sequence[Written], datasets: Datasets, models: Models) -> dict[str, ProtocolEntry]:
    """All protocols by name."""
    return {
        entry["name"]: _protocol(entry, datasets, models, f"protocols[{i}] '{entry['name']}'")
        for i, entry in enumerate(entries)
    }


def _protocol(entry: Written, datasets: Datasets, models: Models, where: str) -> ProtocolEntry:
    _check_words(entry, where)
    sets = {name: _evaluation_set(entry, datasets[name], where) for name in entry["datasets"]}
    attacks = [_attack(entry, i, models, f"{where}.attacks[{i}]") for i in range(len(entry["attacks"]))]
    eps = [eps_of(value, f"{where}.eps[{i}]", entry["norm"]) for i, value in enumerate(entry["eps"])]
    if len({eps_text(value) for value in eps}) != len(eps):
        raise ZsrError(f"{where}.eps: a value stands twice in {entry['eps']}")
    store = entry["store"]
    if not (isinstance(store, int) and store > 0) and store not in ("none", "examples"):
        raise ZsrError(f"{where}.store: '{store}' is neither none, examples, nor how many of them for each cell")
    return ProtocolEntry(
        name=entry["name"],
        datasets=sets,
        attacks=tuple(attacks),
        eps=tuple(eps),
        norm=entry["norm"],
        batch=entry["batch"],
        precision=entry["precision"],
        store=store,
        worst_case=entry["worst_case"],
        chain_eps=entry["chain_eps"],
    )


def _check_words(entry: Written, where: str) -> None:
    """`images` and `shards` are numbers, or each one known word."""
    images, shards = entry["images"], entry["shards"]
    if isinstance(images, str) and images != "all":
        raise ZsrError(f"{where}.images: '{images}' is neither a number of images nor 'all'")
    if isinstance(shards, str) and shards != "auto":
        raise ZsrError(f"{where}.shards: '{shards}' is neither a number of jobs nor 'auto'")


def _evaluation_set(entry: Written, definition: DatasetDefinition, where: str) -> EvaluationSet:
    """What a protocol takes of one dataset, which must have it."""
    name, split, count = definition.name, entry["split"], entry["images"]
    size = need_split(definition, split, f"{where}.split")
    if count != "all" and count > size:
        raise ZsrError(
            f"{where}: images: {count} is more than the {size} of '{name}' ({split}); ask for at most {size}, or for "
            "all"
        )
    images = size if count == "all" else count
    shards = -(-images // SHARD_IMAGES) if entry["shards"] == "auto" else entry["shards"]
    if shards > images:
        raise ZsrError(f"{where}: {entry['shards']} shards of {images} images; ask for fewer")
    if len(definition.classes) < 2:
        raise ZsrError(f"{where}: '{name}' has fewer than two classes; nothing to classify")
    if not definition.labelled:
        raise ZsrError(f"{where}: '{name}' is not labelled; nothing to count as correct")
    _check_half(definition, split, count, where)
    transform = transform_of(definition, entry["transform"], f"{where}.transform ('{name}')")
    return EvaluationSet(split, transform, images, shards)


def _check_half(definition: DatasetDefinition, split: str, count: int | str, where: str) -> None:
    """Where a half of the classes does not say how many images it holds, it is asked for no more than its share."""
    share = definition.splits[split] * len(definition.classes) // definition.all_classes
    if split in definition.uncounted and (not isinstance(count, int) or count > share):
        raise ZsrError(
            f"{where}: images: {count} of '{definition.name}', which has half of a set's classes and does not say how "
            f"many images these have; write `splits: {{{split}: …}}` in data '{definition.name}'"
        )


def _attack(protocol: Written, place: int, models: Models, where: str) -> AttackEntry:
    """One attack with its settings, the verdict that its iterates get, and the attack that it comes after."""
    entry = protocol["attacks"][place]
    kind = entry["attack"]
    given = {key: value for key, value in entry.items() if key not in OWN}
    settings = settings_of("attacks", kind, given, where)
    check_counts(settings, where)
    if "step_size" in settings:
        length(settings["step_size"], 1.0, f"{where}.step_size")
    verdict = entry.get("verdict", protocol["verdict"])
    if verdict == "last" and not registry.describe("attacks", kind).constants["last_iterate"]:
        raise ZsrError(f"{where}: '{kind}' has no last iterate; write verdict: any")
    names = [other["name"] for other in protocol["attacks"]]
    if "after" in entry and entry["after"] not in names[:place]:
        if entry["after"] in names:
            raise ZsrError(f"{where}.after: '{entry['after']}' stands further down; list it before '{entry['name']}'")
        raise unknown("attack", entry["after"], names[:place], f"{where}.after")
    # a setting of `zsr.attacks.attack`, which takes a model; the config names one
    transfers = "surrogate" in settings
    settings = {key: value for key, value in settings.items() if key != "surrogate"}
    surrogate = entry.get("surrogate")
    if transfers:
        _check_surrogate(kind, surrogate, models, where)
    elif surrogate is not None:
        raise ZsrError(f"{where}: '{kind}' makes its examples on the model under attack; take out `surrogate`")
    return AttackEntry(entry["name"], kind, settings, verdict, entry.get("after"), surrogate)


def _check_surrogate(kind: str, name: str | None, models: Models, where: str) -> None:
    """Whether the model that examples are made on is one of the config, on every backbone that is attacked."""
    if name is None:
        raise ZsrError(f"{where}: '{kind}' makes its examples on a second model; name one of the config as `surrogate`")
    if name not in models:
        raise unknown("model", name, models, f"{where}.surrogate")
    if not models[name].zero_shot:
        raise ZsrError(
            f"{where}.surrogate: '{name}' is not zero-shot: it knows its own classes alone; name another model"
        )
    for model in models.values():
        for backbone in model.backbones:
            if backbone not in models[name].backbones:
                raise ZsrError(
                    f"{where}.surrogate: '{name}' is not made on backbone '{backbone}', on which '{model.name}' is "
                    "attacked; name a model that is made on all of them"
                )


def follows(protocol: ProtocolEntry, attack: AttackEntry, eps: Fraction) -> dict[str, tuple[AttackEntry, Fraction]]:
    """role -> (attack, ε) of the cells whose fooled images this one does not attack again."""
    found = {}
    if attack.after:
        found["before"] = next(other for other in protocol.attacks if other.name == attack.after), eps
    smaller = [other for other in protocol.eps if other < eps]
    if protocol.chain_eps and smaller:
        found["smaller"] = attack, max(smaller)
    return found

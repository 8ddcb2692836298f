"""Backbones as the config means them: pretrained here, fetched from open_clip's list, the hub, a file, or put together.

Nothing here imports torch or open_clip.
"""

from collections.abc import Sequence
from functools import cache

import yaml

from zsr.config.dual_encoders import complete_dual
from zsr.config.entries import BackboneEntry, Datasets, Definition, HubWeights, Written
from zsr.config.pretraining import check_teachers, complete_pretraining
from zsr.config.weight_sources import hub_weights, local_weights
from zsr.errors import ZsrError, unknown
from zsr.models import catalogue
from zsr.registry import PACKAGE

ARCHS = PACKAGE / "models" / "archs"
OF_OPEN_CLIP = ("pretrained", "weights", "sha256", "revision", "quick_gelu")


def complete_backbones(entries: Sequence[Written], datasets: Datasets) -> dict[str, BackboneEntry]:
    """All backbones by name."""
    backbones = {
        entry["name"]: _backbone(entry, datasets, f"backbones[{i}] '{entry['name']}'")
        for i, entry in enumerate(entries)
    }
    check_teachers(backbones)
    return backbones


def _backbone(entry: Written, datasets: Datasets, where: str) -> BackboneEntry:
    if sum(key in entry for key in ("arch", "open_clip", "dual")) != 1:
        raise ZsrError(f"{where}: name either `arch` (pretrained here), `open_clip`, or `dual` (put together)")
    if "arch" in entry:
        return _pretrained(entry, datasets, where)
    if "open_clip" in entry:
        return _fetched(entry, where)
    for key in ("pretrain", *OF_OPEN_CLIP):
        if key in entry:
            raise ZsrError(f"{where}: '{key}' is not for `dual`, whose parts say where they come from")
    return complete_dual(entry["name"], entry["dual"], datasets, f"{where}.dual")


def _pretrained(entry: Written, datasets: Datasets, where: str) -> BackboneEntry:
    """A small CLIP whose architecture is a file of zsr/models/archs/."""
    for key in OF_OPEN_CLIP:
        if key in entry:
            raise ZsrError(f"{where}: '{key}' belongs to `open_clip`, `arch` is pretrained here")
    arch = entry["arch"]
    known = sorted(path.stem for path in ARCHS.glob("*.yaml"))
    if arch not in known:
        raise unknown("backbone architecture", arch, known, f"{where}.arch")
    if "pretrain" not in entry:
        raise ZsrError(f"{where}: the key 'pretrain' is missing; '{arch}' has no weights to start from")
    definition = _architecture(arch)
    pretraining = complete_pretraining(entry["pretrain"], datasets, f"{where}.pretrain")
    return BackboneEntry(entry["name"], definition.get("kind", "words-clip"), definition, arch, pretraining)


@cache
def _architecture(name: str) -> Definition:
    definition: Definition = yaml.safe_load((ARCHS / f"{name}.yaml").read_text(encoding="utf-8"))
    return definition


def _fetched(entry: Written, where: str) -> BackboneEntry:
    """A CLIP of open_clip: a hub model, an architecture with one of its tags, or one with a local file."""
    name = entry["open_clip"]
    if "pretrain" in entry:
        raise ZsrError(f"{where}: `pretrain` belongs to `arch`; weights for `open_clip` are `pretrained` or `weights`")
    if name.startswith(catalogue.HUB):
        return _hub_model(entry, where)
    for key in ("revision", "quick_gelu"):
        if key in entry:
            raise ZsrError(f"{where}: '{key}' is for hub names; the name of an architecture says it already")
    if ("pretrained" in entry) == ("weights" in entry):
        raise ZsrError(f"{where}: '{name}' needs either `pretrained` (one of open_clip's tags) or `weights` (a file)")
    if "pretrained" in entry:
        definition, found = catalogue.tagged(name, entry["pretrained"], where)
        weights = HubWeights(found["hub"], found["file"], tag=found["tag"])
        return BackboneEntry(entry["name"], "open-clip", definition, found["tag"], weights)
    definition = catalogue.definition(catalogue.model_config(name, where), catalogue.usual_pixels(name), where)
    file = local_weights(entry["weights"], entry.get("sha256", ""), where, "weights")
    return BackboneEntry(entry["name"], "open-clip", definition, name, file)


def _hub_model(entry: Written, where: str) -> BackboneEntry:
    """A model of the hub, whose config only its job reads."""
    name = entry["open_clip"]
    for key in ("pretrained", "weights", "sha256"):
        if key in entry:
            raise ZsrError(f"{where}: '{name}' has its weights on the hub; take out '{key}'")
    repository, revision = name.removeprefix(catalogue.HUB), entry.get("revision", "")
    weights = hub_weights(repository, where, "hf-hub:org/model", "", revision, entry.get("quick_gelu"))
    return BackboneEntry(entry["name"], "open-clip", None, repository, weights)

"""Backbones as the config means them: pretrained here, fetched from open_clip's list, the hub, a file, or put together.

Each entry is completed with its `definition` (what rebuilds the model; None while only the hub knows it), its `kind`
(the file of zsr/models/kinds/ that builds it) and, if it is fetched, its `source`. A path is no part of a source: what
is in a local file is named by its sha256. Nothing here imports torch or open_clip.
"""

import copy
import hashlib
from functools import cache

import yaml

from zsr.config.dual_encoders import complete_dual
from zsr.config.pretraining import complete_pretraining
from zsr.env_paths import is_repository, path_of
from zsr.epsilon import eps_of
from zsr.errors import ZsrError, unknown
from zsr.models import catalogue
from zsr.registry import PACKAGE

ARCHS = PACKAGE / "models" / "archs"
PUBLISHED = PACKAGE / "models" / "published.yaml"
HEX = 64
OF_OPEN_CLIP = ("pretrained", "weights", "sha256", "revision", "quick_gelu")


def complete_backbone(config: dict, backbone: dict, where: str) -> None:
    """Fill in definition, kind and recipe or source of one entry."""
    if sum(key in backbone for key in ("arch", "open_clip", "dual")) != 1:
        raise ZsrError(f"{where}: name either `arch` (pretrained here), `open_clip`, or `dual` (put together)")
    if "arch" in backbone:
        _drawn(config, backbone, where)
    elif "open_clip" in backbone:
        _fetched(backbone, where)
    else:
        for key in ("pretrain", *OF_OPEN_CLIP):
            if key in backbone:
                raise ZsrError(f"{where}: '{key}' is not for `dual`, whose parts say where they come from")
        complete_dual(config, backbone, where)


def _drawn(config: dict, backbone: dict, where: str) -> None:
    for key in OF_OPEN_CLIP:
        if key in backbone:
            raise ZsrError(f"{where}: '{key}' belongs to `open_clip`, `arch` is pretrained here")
    known = sorted(path.stem for path in ARCHS.glob("*.yaml"))
    if backbone["arch"] not in known:
        raise unknown("backbone architecture", backbone["arch"], known, f"{where}.arch")
    backbone["definition"] = copy.deepcopy(_architecture(backbone["arch"]))
    backbone["kind"] = backbone["definition"].get("kind", "words-clip")
    if "pretrain" not in backbone:
        raise ZsrError(f"{where}: the key 'pretrain' is missing; '{backbone['arch']}' has no weights to start from")
    complete_pretraining(config, backbone, where)


@cache
def _architecture(name: str) -> dict:
    return yaml.safe_load((ARCHS / f"{name}.yaml").read_text(encoding="utf-8"))


def _fetched(backbone: dict, where: str) -> None:
    name = backbone["open_clip"]
    if "pretrain" in backbone:
        raise ZsrError(f"{where}: `pretrain` belongs to `arch`; weights for `open_clip` are `pretrained` or `weights`")
    backbone["kind"] = "open-clip"
    backbone["definition"] = None
    if name.startswith(catalogue.HUB):
        for key in ("pretrained", "weights", "sha256"):
            if key in backbone:
                raise ZsrError(f"{where}: '{name}' has its weights on the hub; take out '{key}'")
        backbone["source"] = _hub(name.removeprefix(catalogue.HUB), backbone.get("revision"), where)
        if "quick_gelu" in backbone:
            backbone["source"]["quick_gelu"] = backbone["quick_gelu"]
        return
    for key in ("revision", "quick_gelu"):
        if key in backbone:
            raise ZsrError(f"{where}: '{key}' is for hub names; the name of an architecture says it already")
    if ("pretrained" in backbone) == ("weights" in backbone):
        raise ZsrError(f"{where}: '{name}' needs either `pretrained` (one of open_clip's tags) or `weights` (a file)")
    if "pretrained" in backbone:
        backbone["definition"], backbone["source"] = catalogue.tagged(name, backbone["pretrained"], where)
    else:
        model = catalogue.model_config(name, where)
        backbone["definition"] = catalogue.definition(model, catalogue.usual_pixels(name), where)
        backbone["source"] = _file(backbone, where)


def _hub(repository: str, revision: str | None, where: str) -> dict:
    if not is_repository(repository):
        raise ZsrError(f"{where}: '{repository}' is not a repository of the hub; write hf-hub:org/model")
    return {"hub": repository, "file": "", **({"revision": revision} if revision else {})}


def _file(entry: dict, where: str) -> dict:
    """A local file is named by its content: moved or touched it is the same, replaced it is another."""
    wanted = entry.get("sha256", "")
    if not wanted:
        path = path_of(entry["weights"], f"{where}.weights")
        if not path.is_file():
            raise ZsrError(f"{where}.weights: {path}: no such file")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        raise ZsrError(f"{where}: say which content `weights` must have; the file has sha256: {found}")
    if len(wanted) != HEX or set(wanted) - set("0123456789abcdef"):
        raise ZsrError(f"{where}.sha256: {wanted!r} is not a sha256, 64 hex digits")
    return {"sha256": wanted}


@cache
def published_checkpoints() -> dict[str, dict]:
    """The ready-made rows."""
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))


def complete_published(config: dict, model: dict, where: str) -> None:
    """The source of published weights, and what the report must know of them: ε and training set."""
    given = model["settings"]
    if sum(bool(given[key]) for key in ("checkpoint", "hub", "weights")) != 1:
        raise ZsrError(f"{where}.settings: name one of `checkpoint`, `hub`, `weights`")
    if given["checkpoint"]:
        known = published_checkpoints()
        if given["checkpoint"] not in known:
            raise unknown("published checkpoint", given["checkpoint"], known, f"{where}.settings")
        row = known[given["checkpoint"]]
        _check_base(config, model, row["base"], where)
        source, facts = _hub(row["hub"], given["revision"] or None, where), row
    else:
        for key in ("eps", "trained_on"):
            if not given[key]:
                raise ZsrError(f"{where}.settings: say the {key} that these weights were trained with; the report asks")
        facts = given
        hub = given["hub"].removeprefix(catalogue.HUB)
        source = _hub(hub, given["revision"] or None, where) if hub else _file(given, f"{where}.settings")
    model["published"] = {
        "source": source,
        "eps": eps_of(facts["eps"], f"{where}.settings.eps"),
        "trained_on": facts["trained_on"],
        "method": facts.get("method"),
    }


def _check_base(config: dict, model: dict, base: str, where: str) -> None:
    """A checkpoint of the table belongs to one backbone: another would be refused after the download."""
    for backbone in config["backbones"]:
        tag = backbone.get("source", {}).get("tag")
        if backbone["name"] in model["backbones"] and tag != base:
            name, _, pretrained = base.partition(":")
            raise ZsrError(
                f"{where}: '{model['settings']['checkpoint']}' is a tower of open_clip: {name}, pretrained: "
                f"{pretrained}, not of '{backbone['name']}'; name the right ones in `backbones`"
            )

"""A published dual encoder from its weights: a file whose content the config names, or a repository of the hub."""

import json
from pathlib import Path

from zsr.errors import ZsrError
from zsr.models import catalogue, hub, weights
from zsr.models.backbone import Backbone
from zsr.models.convert import check_gelu, convert
from zsr.storage.unreadable import reading


def fetch(weights_from: dict, definition: dict | None, file: Path | None) -> tuple[Backbone, dict]:
    """(the backbone, the facts of its record). `file` is the local one; without it the hub's is used."""
    definition = definition or hub_definition(weights_from)
    path = file or hub.weights(weights_from["hub"], weights_from["file"], weights_from.get("revision"))
    digest = weights.check(path, weights_from.get("sha256"))
    tensors, quick = weights.read(path)
    check_gelu(definition, quick, path)
    backbone = convert(definition, tensors, path)
    return backbone, {
        "definition": definition,
        "file": path.name,
        "sha256": digest,
        "parameters": sum(value.numel() for value in backbone.clip.parameters()),
        "logit_scale": backbone.logit_scale,
    }


def hub_definition(weights_from: dict) -> dict:
    """What the hub says of a model that open_clip does not list."""
    origin = f"hub repository {weights_from['hub']}"
    path = hub.find(weights_from["hub"], hub.CONFIG, weights_from.get("revision"))
    with reading(path, "a config in open_clip's format"):
        says = json.loads(path.read_text(encoding="utf-8"))
        model, pixels = dict(says["model_cfg"]), dict(says.get("preprocess_cfg", {}))
    for key in ("mean", "std"):
        if not _is_colour(pixels.get(key, [0.5] * 3)):
            raise ZsrError(f"{origin}: {hub.CONFIG} says {key}: {pixels[key]!r:.60}; three numbers from 0 are wanted")
    if "quick_gelu" in weights_from:
        model["quick_gelu"] = weights_from["quick_gelu"]
    return catalogue.definition(model, pixels, origin)


def _is_colour(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(isinstance(value, int | float) and value >= 0 for value in values)
    )

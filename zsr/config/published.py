"""Published models as the config means them: ready-made rows, the hub, or a local file."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import yaml

from zsr.config.entries import BackboneEntry, HubWeights, Published, Settings, WeightSource
from zsr.config.weight_sources import hub_weights, local_weights
from zsr.epsilon import eps_of
from zsr.errors import ZsrError, unknown
from zsr.models import catalogue
from zsr.registry import PACKAGE

PUBLISHED = PACKAGE / "models" / "published.yaml"


@cache
def published_checkpoints() -> dict[str, dict[str, Any]]:
    """The ready-made rows."""
    rows: dict[str, dict[str, Any]] = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    return rows


def complete_published(settings: Settings, backbones: Iterable[BackboneEntry], where: str) -> Published:
    """Where published weights come from, and what the report must know of them: ε and training set."""
    if sum(bool(settings[key]) for key in ("checkpoint", "hub", "weights")) != 1:
        raise ZsrError(f"{where}.settings: name one of `checkpoint`, `hub`, `weights`")
    facts = _row(settings["checkpoint"], backbones, where) if settings["checkpoint"] else settings
    for key in ("eps", "trained_on"):
        if not facts[key]:
            raise ZsrError(f"{where}.settings: say the {key} that these weights were trained with; the report asks")
    weights_from: WeightSource
    if hub := facts["hub"].removeprefix(catalogue.HUB):
        weights_from = hub_weights(hub, where, "hf-hub:org/model", "", settings["revision"])
    else:
        weights_from = local_weights(settings["weights"], settings["sha256"], f"{where}.settings", "weights")
    eps = eps_of(facts["eps"], f"{where}.settings.eps")
    return Published(weights_from, eps, facts["trained_on"], facts.get("method"))


def published_facts(published: Published | None) -> dict[str, object] | None:
    """What is known of published weights, as the spec of the tables counts it."""
    if published is None:
        return None
    return {
        "source": published.weights_from.spec(),
        "eps": published.eps,
        "trained_on": published.trained_on,
        "method": published.method,
    }


def _row(checkpoint: str, backbones: Iterable[BackboneEntry], where: str) -> dict[str, Any]:
    """A ready-made row. It belongs to one backbone: another would be refused after the download."""
    known = published_checkpoints()
    if checkpoint not in known:
        raise unknown("published checkpoint", checkpoint, known, f"{where}.settings")
    base = known[checkpoint]["base"]
    for backbone in backbones:
        if not isinstance(backbone.weights_from, HubWeights) or backbone.weights_from.tag != base:
            name, _, pretrained = base.partition(":")
            raise ZsrError(
                f"{where}: '{checkpoint}' is a tower of open_clip: {name}, pretrained: {pretrained}, not of "
                f"'{backbone.name}'; name the right ones in `backbones`"
            )
    return known[checkpoint]

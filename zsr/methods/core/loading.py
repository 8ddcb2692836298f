"""A model as its record tells it: the backbone, what training changed, and the method that opens it."""

from pathlib import Path

from zsr import registry
from zsr.methods.core.base import Method
from zsr.models.backbone import Backbone, load_model


def load_trained(weights: Path, record: dict, trained: Path, trained_record: dict) -> tuple[Backbone, Method]:
    """The backbone of `record` with the model of `trained_record` put over it, in eval mode."""
    spec = trained_record["spec"]
    method = registry.load("methods", spec["method"])(**spec["settings"])
    backbone = load_model(weights, record, trained, trained_record, method.wrap, with_text=method.trains_text)
    backbone.visual.eval()
    return backbone, method

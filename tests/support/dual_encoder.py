"""A small dual encoder as a config names it, and as the plan describes it."""

from pathlib import Path

from support import encoders
from zsr.hashing import encoder_digest, file_digest
from zsr.models import dual_parts, weights
from zsr.models.backbone import Backbone
from zsr.models.dual_files import finder

PLANNED = {
    "kind": "dual",
    "vision_cfg": {"timm_model_name": encoders.TOWER, "image_size": 32, "settings": {}},
    "text_cfg": {"form": "sentence"},
    "tokenizer": {"kind": "sentence"},
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bicubic",
}


def entry(files: dict[str, Path]) -> dict:
    """A backbone of the config."""
    image = {"timm": encoders.TOWER, "size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    return {
        "name": "lit",
        "dual": {
            "image": image | {"weights": str(files["image"]), "sha256": file_digest(files["image"])},
            "text": {"sentence": str(files["text"]), "sha256": encoder_digest(files["text"])},
            "projection": {"weights": str(files["projection"]), "sha256": file_digest(files["projection"])},
        },
    }


def joined(files: dict[str, Path]) -> tuple[Backbone, dict]:
    """The backbone as the rule `join` makes it, and its definition."""
    text, tensors = dual_parts.text_of("sentence", finder(files["text"]), "text")
    definition = dual_parts.whole(PLANNED, text)
    made = dual_parts.assemble(definition, 0, weights.read(files["image"])[0], tensors, files["image"], "text")
    dual_parts.project(made, dual_parts.projection(files["projection"]), files["projection"])
    made.clip.eval()
    return made, definition

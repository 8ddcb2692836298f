"""A model as plain open_clip knows it: config and weights in one folder, which Hugging Face's hub takes as it is.

    open_clip.create_model("local-dir:exports/rn.tecoa.s0")

What open_clip's config cannot say is refused by name: an export that computes something else would be worse than none.
"""

import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from zsr.errors import ZsrError, system_error
from zsr.methods.core.base import Method
from zsr.methods.core.visual_prompts import Prompted
from zsr.models import word_tokenizer
from zsr.models.backbone import DEFAULT_KIND, Backbone, save_tensors
from zsr.storage.records import replacing, write_json

KINDS = (DEFAULT_KIND, "open-clip")
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"  # the names that open_clip looks for


def why_not(backbone: Backbone, method: Method, definition: dict) -> str | None:
    """Why a model cannot be a plain checkpoint, or None."""
    if isinstance(backbone.visual, Prompted):
        return "it is a prompt around a frozen image tower, and a checkpoint of open_clip has no place for prompts"
    if method.trains_text or not method.zero_shot:
        return "it classifies with a read-out or with prompts that it has learned, which open_clip's text tower lacks"
    if type(method).head is not Method.head:
        return "it classifies with class embeddings of its own making, which the text tower of a checkpoint lacks"
    if type(method).wrap is not Method.wrap:
        return "its method puts a module of its own around the image tower"
    if definition.get("kind", DEFAULT_KIND) not in KINDS:
        return f"backbones of the kind '{definition['kind']}' are none of open_clip's"
    if "stem" in definition:
        return "its patches are projected by a stack of convolutions (`stem`), which open_clip's config cannot say"
    return None


def checkpoint(folder: Path, name: str, backbone: Backbone, method: Method, definition: dict) -> None:
    """Write config, weights and, where open_clip does not have it, the tokenizer's vocabulary."""
    if reason := why_not(backbone, method, definition):
        raise ZsrError(f"{name}: cannot be exported: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": backbone.mean, "std": backbone.std}
    if "interpolation" in definition:
        preprocess["interpolation"] = definition["interpolation"]
    write_json(folder / CONFIG, {"model_cfg": model_config(definition), "preprocess_cfg": preprocess})
    with replacing(folder / WEIGHTS) as temporary:
        try:
            save_file(save_tensors(backbone), temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # its own words for what the system refuses
            cure = "free space or name another --to"
            raise system_error(folder / WEIGHTS, error, cure, "cannot be written") from error
    if definition["tokenizer"] == "words":
        shutil.copyfile(Path(word_tokenizer.__file__).with_name(word_tokenizer.WORDS), folder / word_tokenizer.WORDS)


def model_config(definition: dict) -> dict:
    """open_clip's config: a fetched backbone carries it as it was found, a drawn one is made of its parts."""
    if "model" in definition:
        return definition["model"]
    return {key: definition[key] for key in ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu") if key in definition}

"""Reads open_clip's catalogue without importing torch: architectures, pretrained tags, pixel statistics.

The plan describes a backbone with it before anything is downloaded, so that a mismatch is one line and not a failed
job: a tag that the architecture has no weights for, QuickGELU on one side alone, a tower that a method cannot
use.
"""

import copy
import importlib
import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from zsr.errors import ZsrError, unknown

HUB = "hf-hub:"
SHADOW = "_zsr_open_clip"  # open_clip's folder under another name, so that the real package stays unimported
ABSENT = ("safetensors", "safetensors.torch", "huggingface_hub")  # optional there; they bring torch and a network stack
MODEL_KEYS = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale", "init_logit_bias")
TOKENIZER_KEYS = ("clean", "strip_sep_token")
PIXELS = ("mean", "std", "interpolation", "resize_mode")
CLIP_PIXELS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}  # what open_clip assumes where neither a tag nor a hub config says otherwise


@cache
def folder() -> Path:
    """Where open_clip is installed."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise ZsrError("open_clip is not installed; run `make venv`")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def architectures() -> dict[str, Path]:
    """Name -> the JSON file of its model config."""
    return {path.stem: path for path in sorted((folder() / "model_configs").glob("*.json"))}


@cache
def _pretrained() -> ModuleType:
    """open_clip's table of pretrained weights; the module is run once under another name and forgotten again."""
    package = ModuleType(SHADOW)
    package.__path__ = [str(folder())]
    held = {name: sys.modules.get(name) for name in ABSENT}
    sys.modules[SHADOW] = package
    sys.modules.update(dict.fromkeys(ABSENT))  # type: ignore[arg-type]  # None: absent
    try:
        return importlib.import_module(f"{SHADOW}.pretrained")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == SHADOW]:
            del sys.modules[name]
        for name, module in held.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def tags(name: str) -> dict[str, dict]:
    """The pretrained tags of an architecture: where the weights lie and what they were trained with."""
    return _pretrained()._PRETRAINED.get(name, {})


def model_config(name: str, where: str) -> dict:
    """The model config of an architecture as open_clip ships it."""
    if name not in architectures():
        raise unknown("open_clip architecture", name, architectures(), where)
    return json.loads(architectures()[name].read_text(encoding="utf-8"))


def definition(config: dict, pixels: dict, where: str) -> dict:
    """Everything that rebuilds a model: open_clip's config of it, its pixel statistics, its tokenizer."""
    if "multimodal_cfg" in config:
        raise ZsrError(f"{where}: CoCa's image tower answers with caption tokens beside the features; name a CLIP")
    if not all(key in config for key in MODEL_KEYS[:3]):
        raise ZsrError(f"{where}: not a CLIP, its config has no {' or no '.join(MODEL_KEYS[:3])}")
    for key in ("vision_cfg", "text_cfg"):
        if not isinstance(config[key], dict):
            raise ZsrError(f"{where}: its config says {key}: {config[key]!r:.40}; a mapping is wanted")
    text = config["text_cfg"]
    name = text.get("hf_model_name")
    if name and importlib.util.find_spec("transformers") is None:
        raise ZsrError(f"{where}: its text tower is '{name}' of transformers, which zsr does not install; add it")
    kept = {key: copy.deepcopy(config[key]) for key in MODEL_KEYS if key in config}
    return {
        "kind": "open-clip",
        "model": kept,
        **_pixels(pixels),
        "tokenizer": tokenizer(text, where),
    }


def _pixels(given: dict) -> dict:
    """Mean, std and resizing of a tag or a hub config, CLIP's where it names none."""
    return {key: _plain(given.get(key, CLIP_PIXELS[key])) for key in PIXELS}


def usual_pixels(name: str) -> dict:
    """What all tags of an architecture agree on (SigLIP's are no CLIP's); CLIP's if they differ or there are none."""
    by_tag = [_pixels(weights) for weights in tags(name).values()]
    return by_tag[0] if by_tag and all(other == by_tag[0] for other in by_tag) else _pixels({})


def tokenizer(text: dict, where: str) -> dict:
    """Which tokenizer a text tower was trained with."""
    name = text.get("hf_tokenizer_name")
    given = text.get("tokenizer_kwargs") or {}
    if name is None:
        if extra := sorted(set(given) - {"clean"}):
            raise ZsrError(f"{where}: zsr knows no setting '{extra[0]}' of CLIP's own tokenizer")
        return {"kind": "clip", **given}
    if extra := sorted(set(given) - set(TOKENIZER_KEYS)):
        raise ZsrError(f"{where}: zsr knows no setting '{extra[0]}' of the tokenizer '{name}'")
    if text.get("tokenizer_mode"):
        raise ZsrError(f"{where}: zsr does not know the tokenizer mode '{text['tokenizer_mode']}' of '{name}'")
    return {"kind": "hf", "name": name, **given}


def tagged(name: str, tag: str, where: str) -> tuple[dict, dict]:
    """(definition, source) of an architecture with one of open_clip's pretrained tags."""
    config = model_config(name, where)
    known = tags(name)
    if tag not in known:
        if other := twin(name, tag):
            raise ZsrError(f"{where}: '{tag}' was trained {_gelu(other)}; write open_clip: {other}")
        raise unknown("pretrained tag", tag, known, f"{where}.pretrained ({name})")
    weights = known[tag]
    if bool(weights.get("quick_gelu")) != bool(config.get("quick_gelu")):
        other = twin(name, tag)
        cure = f"write open_clip: {other}" if other else "open_clip has no architecture that fits"
        have = "QuickGELU" if config.get("quick_gelu") else "GELU"
        need = "QuickGELU" if weights.get("quick_gelu") else "GELU"
        raise ZsrError(f"{where}: '{tag}' was trained with {need}, '{name}' computes {have} (points lost); {cure}")
    return definition(config, weights, where), {"tag": f"{name}:{tag}", **_hub_file(weights)}


def twin(name: str, tag: str) -> str | None:
    """The same architecture with the other activation, if the tag belongs to it."""
    other = name.removesuffix("-quickgelu") if name.endswith("-quickgelu") else f"{name}-quickgelu"
    if other not in architectures() or tag not in tags(other):
        return None
    fits = bool(tags(other)[tag].get("quick_gelu")) == bool(model_config(other, "").get("quick_gelu"))
    return other if fits else None


def _gelu(name: str) -> str:
    return "with QuickGELU" if name.endswith("-quickgelu") else "without QuickGELU"


def _hub_file(weights: dict) -> dict:
    """Repository and file on the hub, which has the weights of every tag of open_clip."""
    repository, _, file = weights["hf_hub"].rpartition("/")
    return {"hub": repository, "file": file}


def needs_tower(definition: dict | None) -> str | None:
    """Why a method that needs the patch tokens of a VisionTransformer cannot have this tower; None if it can.

    A hub model whose config is not read yet is admitted: its job checks again.
    """
    if definition is None:
        return None
    vision = definition.get("model", definition)["vision_cfg"]
    if vision.get("timm_model_name"):
        return f"is '{vision['timm_model_name']}' of timm"
    if isinstance(vision.get("layers"), (list, tuple)):
        return "is a ResNet"
    if vision.get("pool_type", "tok") != "tok" or vision.get("attentional_pool") or vision.get("final_ln_after_pool"):
        return "does not pool by a class token"
    return "drops patches" if vision.get("patch_dropout") else None


def needs_words(definition: dict | None) -> str | None:
    """Why a method that learns words cannot have this text side; None if it can, or if only the job knows."""
    if definition is not None and definition.get("kind") == "dual":
        return "has sentence vectors"
    return None


def _plain(value: object) -> object:
    """Tuples as lists: what a spec says must be what JSON gives back."""
    return list(value) if isinstance(value, tuple) else value

"""Converts a checkpoint to the weights of a backbone: each tensor by name and shape, float32, none missing or left."""

import math
from pathlib import Path

import torch
from torch import Tensor

from zsr.errors import ZsrError
from zsr.models.backbone import Backbone, build, fill
from zsr.models.open_clip_light import part
from zsr.models.tensor_file import check_finite, check_kind
from zsr.storage.unreadable import reading

TEXT = ("text.", "transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")
RTOL, ATOL = 1e-3, 1e-7  # fp16 rounds by up to 4.9e-4 of a value, and below 6.1e-5 by up to 3e-8
TEXT_IDS = "text.transformer.embeddings.position_ids"  # a buffer that transformers dropped in 4.31


def convert(definition: dict, tensors: dict[str, Tensor], path: Path) -> Backbone:
    """The model of a definition with the tensors of a checkpoint, whose names may be those of its origin."""
    backbone = build(definition)
    clip = backbone.clip
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    with reading(path, "a CLIP whose names open_clip knows", "take another checkpoint, or its own architecture"):
        tensors = part("convert").convert_state_dict(clip, tensors)  # Apple's, Meta's and others' own names
        if "positional_embedding" in tensors and not hasattr(clip, "positional_embedding"):
            tensors = part("model").convert_to_custom_text_state_dict(tensors)
    if TEXT_IDS not in clip.state_dict():
        tensors.pop(TEXT_IDS, None)
    for name in ("logit_scale", "logit_bias"):
        if name in tensors and isinstance(getattr(clip, name, None), Tensor) and tensors[name].numel() == 1:
            tensors[name] = tensors[name].reshape(getattr(clip, name).shape)
    fill(clip, tensors, path, whole=True)
    for name, value in clip.state_dict().items():
        check_finite(name, value, path)
    if not 0 < backbone.logit_scale < math.inf:
        raise ZsrError(f"{path}: its temperature is {backbone.logit_scale}; a damaged checkpoint")
    return backbone


def check_gelu(definition: dict, quick: bool | None, path: Path) -> None:
    """Refuse weights of QuickGELU in a CLIP that computes GELU, and the other way round, where the file tells."""
    if quick is not None and "model" in definition and quick != bool(definition["model"].get("quick_gelu")):
        have, other = ("QuickGELU", "the name with -quickgelu") if quick else ("GELU", "the name without -quickgelu")
        raise ZsrError(f"{path}: its weights were trained with {have}; write {other} for open_clip")


def tower_of(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(the image tower's tensors by its own names, what else is there) of a whole CLIP or of a tower alone."""
    tower = {name.removeprefix("visual."): value for name, value in tensors.items() if name.startswith("visual.")}
    if not tower:
        return tensors, {}
    return tower, {name: value for name, value in tensors.items() if not name.startswith("visual.")}


def changed(tower: dict[str, Tensor], base: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """What a published image tower changes of a backbone's; names and shapes must be the same."""
    own = {name.removeprefix("visual."): value for name, value in base.items() if name.startswith("visual.")}
    for name in sorted(own.keys() | tower.keys()):
        if name not in own or name not in tower:
            lacks = "lacks" if name not in tower else "has, and the backbone has not,"
            raise ZsrError(f"{path}: not a checkpoint of this backbone, it {lacks} the tensor '{name}'")
        if own[name].shape != tower[name].shape:
            raise ZsrError(
                f"{path}: not a checkpoint of this backbone, '{name}' is {list(tower[name].shape)} there and "
                f"{list(own[name].shape)} here"
            )
        check_kind(name, tower[name], own[name], path)
    rounded = {name: value.to(own[name].dtype) for name, value in tower.items()}
    for name, value in rounded.items():
        check_finite(name, value, path)
    return {name: value.contiguous() for name, value in rounded.items() if not torch.equal(value, own[name])}


def check_text(rest: dict[str, Tensor], base: dict[str, Tensor], path: Path) -> None:
    """The class embeddings are the backbone's, so a whole CLIP must have its text tower (up to a rounding to fp16)."""
    custom = part("model").convert_to_custom_text_state_dict  # one spelling for both: text.…, as the newer towers have
    with reading(path, "a CLIP whose names open_clip knows", "take another checkpoint"):
        rest, base = custom(rest), custom(base)
    shared = sorted(rest.keys() & base.keys())
    if any(name.startswith(TEXT) for name in rest) and not any(name.startswith(TEXT) for name in shared):
        raise _other_text(path, "no tensor of it has a name that the backbone's has")
    for name in shared:
        check_kind(name, rest[name], base[name], path)
        one, other = rest[name].float(), base[name].float()
        if one.shape != other.shape or not torch.allclose(one, other, RTOL, ATOL):
            raise _other_text(path, f"'{name.removeprefix('text.')}' differs")


def _other_text(path: Path, why: str) -> ZsrError:
    cure = "make it a backbone of its own: open_clip: hf-hub:…, or weights: …"
    return ZsrError(f"{path}: its text tower is not the backbone's ({why}); {cure}")

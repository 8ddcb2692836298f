"""A CLIP model of open_clip and what the project must know of it: pixel statistics, temperature, tokenizer.

open_clip is imported when a model is built, not before, and without what its towers do not need (zsr/models/light.py).
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zsr.errors import ZsrError, unknown
from zsr.models import words
from zsr.models.light import clip_class
from zsr.store import REPAIR, check_digest

if TYPE_CHECKING:
    from open_clip.model import CLIP

TOKENIZERS = ("words",)


class Backbone:
    """An image tower and the text tower that its features are compared with."""

    def __init__(self, clip: "CLIP", arch: dict) -> None:
        self.clip = clip
        self.mean: tuple[float, ...] = tuple(arch["mean"])
        self.std: tuple[float, ...] = tuple(arch["std"])
        self.image_size: int = arch["vision_cfg"]["image_size"]
        self.embed_dim: int = arch["embed_dim"]
        if arch["tokenizer"] not in TOKENIZERS:
            raise unknown("tokenizer", arch["tokenizer"], TOKENIZERS, "backbone")
        if clip.vocab_size != len(words.vocabulary()):
            raise ZsrError(
                f"backbone: text_cfg.vocab_size is {clip.vocab_size}, the tokenizer has {len(words.vocabulary())} "
                "words; make them equal"
            )

    @property
    def visual(self) -> nn.Module:
        """Normalised images [B, 3, H, W] -> features [B, D], not of unit length."""
        return self.clip.visual

    @property
    def logit_scale(self) -> float:
        """s of the logits s·cos(f, t)."""
        return self.clip.logit_scale.exp().item()

    def tokens(self, prompts: list[str]) -> Tensor:
        """Ids [P, context]."""
        return torch.tensor(words.tokenize(prompts, self.clip.context_length), dtype=torch.int64)

    def encode_text(self, prompts: list[str]) -> Tensor:
        """Features of prompts [P, D], not of unit length."""
        return self.clip.encode_text(self.tokens(prompts).to(self.clip.text_projection.device))


def build(arch: dict, seed: int = 0) -> Backbone:
    """A model with fresh weights, a function of (arch, seed); the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            clip = clip_class()(
                arch["embed_dim"],
                dict(arch["vision_cfg"]),
                dict(arch["text_cfg"]),
                quick_gelu=arch.get("quick_gelu", False),
                init_logit_scale=math.log(arch["logit_scale"]),
            )
            if "stem" in arch:
                clip.visual.conv1 = stem(arch["stem"], clip.visual.conv1.out_channels)
        except TypeError as error:  # open_clip's dataclasses name the key
            raise ZsrError(f"backbone: open_clip refuses the architecture: {error}") from error
    if isinstance(arch["vision_cfg"]["layers"], (list, tuple)):
        clip.visual.to(memory_format=torch.channels_last)  # a ResNet on a CPU: a quarter less time
    return Backbone(clip, arch)


def stem(channels: list[int], width: int) -> nn.Sequential:
    """Convolutions of stride 2 in place of a ViT's one patch projection: [B, 3, H, W] -> [B, width, H/2^k, W/2^k].

    They find edges from the first hundred steps on, where a projection of raw patches needs thousands (Xiao et al.,
    NeurIPS 2021, arXiv 2106.14881). The rest of the tower is open_clip's.
    """
    layers: list[nn.Module] = []
    for before, after in zip([3, *channels], channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], width, 1, bias=False)).to(memory_format=torch.channels_last)


def load_backbone(weights: Path, record: dict) -> Backbone:
    """A pretrained backbone, in eval mode; the record holds its architecture (`spec.arch`) and its digest."""
    check_digest(weights, record["digests"]["weights"])
    backbone = build(record["spec"]["arch"])
    _fill(backbone.clip, _tensors(weights), weights, whole=True)
    backbone.clip.eval().requires_grad_(False)
    return backbone


def load_model(
    weights: Path, record: dict, trained: Path, trained_record: dict, wrap: Callable[[nn.Module], nn.Module]
) -> Backbone:
    """A backbone with what fine-tuning changed of its image tower put over it; `wrap` adds a method's prompts."""
    backbone = load_backbone(weights, record)
    backbone.clip.visual = wrap(backbone.visual)
    check_digest(trained, trained_record["digests"]["weights"])
    _fill(backbone.visual, _tensors(trained), trained, whole=False)
    return backbone


def save_tensors(backbone: Backbone) -> dict[str, Tensor]:
    """All weights, ready for safetensors."""
    return {name: value.detach().cpu().contiguous() for name, value in backbone.clip.state_dict().items()}


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ZsrError(f"{path}: not a safetensors file ({error}); {REPAIR}") from error


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: Path, *, whole: bool) -> None:
    """Copy tensors into a module; names and shapes must fit, and all must be there if `whole`."""
    own = module.state_dict()
    for name, value in tensors.items():
        if name not in own:
            raise ZsrError(f"{path}: a checkpoint of another architecture, this one has no tensor '{name}'")
        if own[name].shape != value.shape:
            raise ZsrError(
                f"{path}: a checkpoint of another architecture, '{name}' is {list(value.shape)} there and "
                f"{list(own[name].shape)} here"
            )
    missing = sorted(own.keys() - tensors.keys())
    if whole and missing:
        raise ZsrError(f"{path}: a checkpoint of another architecture, it lacks the tensor '{missing[0]}'")
    module.load_state_dict(tensors, strict=whole)

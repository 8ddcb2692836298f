"""The drawn CLIPs: open_clip's towers at 32 × 32, the word tokenizer, and for the ViT a convolutional stem."""

import math
from functools import partial

import torch
from torch import nn

from zsr.errors import ZsrError, unknown
from zsr.models import word_tokenizer
from zsr.models.backbone import Backbone
from zsr.models.open_clip_light import clip_class

TOKENIZERS = ("words",)


def build(arch: dict) -> Backbone:
    """The model of one of the files of zsr/models/archs/."""
    clip = clip_class()(
        arch["embed_dim"],
        dict(arch["vision_cfg"]),
        dict(arch["text_cfg"]),
        quick_gelu=arch.get("quick_gelu", False),
        init_logit_scale=math.log(arch["logit_scale"]),
    )
    if "stem" in arch:
        clip.visual.conv1 = stem(arch["stem"], clip.visual.conv1.out_channels)
    if isinstance(arch["vision_cfg"]["layers"], (list, tuple)):
        clip.visual.to(memory_format=torch.channels_last)  # a ResNet on a CPU: a quarter less time
    if arch["tokenizer"] not in TOKENIZERS:
        raise unknown("tokenizer", arch["tokenizer"], TOKENIZERS, "backbone")
    if clip.vocab_size != len(word_tokenizer.vocabulary()):
        raise ZsrError(
            f"backbone: text_cfg.vocab_size is {clip.vocab_size}, the tokenizer has {len(word_tokenizer.vocabulary())} "
            "words; make them equal"
        )
    return Backbone(
        clip,
        mean=arch["mean"],
        std=arch["std"],
        image_size=arch["vision_cfg"]["image_size"],
        embed_dim=arch["embed_dim"],
        tokenize=partial(word_tokenizer.tokenize, context=clip.context_length),
    )


def stem(channels: list[int], width: int) -> nn.Sequential:
    """Convolutions of stride 2 in place of a ViT's one patch projection: [B, 3, H, W] -> [B, width, H/2^k, W/2^k].

    They find edges from the first hundred steps on, where a projection of raw patches needs thousands (Xiao et al.,
    NeurIPS 2021, arXiv 2106.14881). The rest of the tower is open_clip's.
    """
    layers: list[nn.Module] = []
    for before, after in zip([3, *channels], channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], width, 1, bias=False)).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]  # missing in the stubs
    )

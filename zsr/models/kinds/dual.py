"""Builds dual encoders from parts: a tower of timm, sentence vectors, and a linear map between them.

    f(x) = W trunk(x) + b        t = v / |v| - m        logits s·cos(f, t)

Locked-image tuning (LiT, Zhai et al., CVPR 2022, arXiv 2111.07991) learns a text tower for fixed image features; here
both are fixed and the map is learned (training/projection.py). m is the mean of the training texts' vectors: sentence
encoders put all prompts of one form into a narrow cone, and only what differs from their mean tells classes apart.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.models import timm_light
from zsr.models.backbone import Backbone, ClipModel
from zsr.models.sentence_encoder import SentenceTower
from zsr.models.text_vectors import StoredTexts

FORMS: dict[str, Callable[[dict], SentenceTower | StoredTexts]] = {"sentence": SentenceTower, "vectors": StoredTexts}


class Tower(nn.Module):
    """A tower of timm and the projection: what fine-tuning trains and attacks."""

    def __init__(self, trunk: nn.Module, features: int, dimensions: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.proj = nn.Linear(features, dimensions)
        self.output_dim = dimensions

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.trunk(x))


class Dual(ClipModel):
    """Image tower, text side, temperature."""

    visual: Tower
    text_mean: Tensor

    def __init__(self, visual: Tower, text: SentenceTower | StoredTexts) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.register_buffer("text_mean", torch.zeros(visual.output_dim))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_text(self, text: Tensor) -> Tensor:
        return F.normalize(self.text(text), dim=1) - self.text_mean


def build(definition: dict) -> Backbone:
    """The model that a definition describes, see zsr/models/dual_files.py."""
    vision, about, width = definition["vision_cfg"], definition["text_cfg"], definition["embed_dim"]
    trunk = timm_light.create(vision["timm_model_name"], vision["file"], vision["settings"])
    text = FORMS[about["form"]]({key: value for key, value in about.items() if key != "form"})
    clip = Dual(Tower(trunk, vision["features"], width), text)
    # on a CPU a third of the time; a transformer's layers do not care
    clip.visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    return Backbone(
        clip,
        mean=definition["mean"],
        std=definition["std"],
        image_size=vision["image_size"],
        embed_dim=width,
        tokenize=text.tokenize,
        resize=definition["interpolation"],
    )

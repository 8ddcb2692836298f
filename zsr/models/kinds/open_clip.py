"""Builds models of open_clip, of its list or of a hub config, with the tokenizer that they were trained with.

ResNets and VisionTransformers are built without the rest of the package (models/open_clip_light.py); towers of timm or
transformers (ConvNeXt, SigLIP, …) need the whole of it, about a second more.
"""

import sys

import torch

from zsr.errors import ZsrError
from zsr.models import tokenizers
from zsr.models.backbone import Backbone
from zsr.models.open_clip_light import part


def build(definition: dict) -> Backbone:
    """The model that a definition describes, see zsr/models/catalogue.py."""
    config = dict(definition["model"])
    vision, text = dict(config.pop("vision_cfg")), dict(config.pop("text_cfg"))
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
    if ("timm_model_name" in vision or "hf_model_name" in text) and "open_clip" not in sys.modules:
        import open_clip  # noqa: F401 - the whole package, before the light one is asked for
    separate = config.pop("custom_text", False) or "hf_model_name" in text
    models = part("model")
    kind = models.CustomTextCLIP if separate else models.CLIP
    clip = kind(vision_cfg=vision, text_cfg=text, **config)
    if not isinstance(clip.logit_scale, torch.nn.Parameter):
        raise ZsrError("backbone: the model has no temperature")
    if isinstance(vision.get("layers"), (list, tuple)):
        clip.visual.to(memory_format=torch.channels_last)  # a ResNet on a CPU: a quarter less time
    return Backbone(
        clip,
        mean=definition["mean"],
        std=definition["std"],
        image_size=vision["image_size"],
        embed_dim=config["embed_dim"],
        tokenize=tokenizers.make(definition["tokenizer"], context=text.get("context_length", 77)),
        resize=definition["interpolation"],
    )

"""Towers take images of any size: resized inside the model, differentiably, and never where the size is right."""

import copy

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support.hub_models import RESNET, TINY, definition, tiny

from zsr.methods.core.patch_tokens import look
from zsr.methods.vp_pixel import VPPixel
from zsr.methods.vp_token import VPToken
from zsr.models import convert
from zsr.models.backbone import Backbone
from zsr.models.resize import resized


@pytest.fixture(scope="module", params=[TINY, RESNET], ids=["vit", "resnet"])
def pair(request, tmp_path_factory) -> tuple[Backbone, torch.nn.Module]:
    theirs = tiny(request.param)
    ours = convert.convert(definition(request.param), theirs.state_dict(), tmp_path_factory.getbasetemp())
    ours.clip.eval()
    return ours, theirs.visual


@pytest.mark.parametrize("side", [(16, 16), (32, 32), (48, 24), (64, 64)])
def test_the_tower_resizes_and_keeps_its_names_and_type(pair, side):
    ours, theirs = pair
    images = torch.randn(2, 3, *side, requires_grad=True)
    fitted = images
    if side != (32, 32):
        fitted = F.interpolate(images, (32, 32), mode="bicubic", antialias=max(side) > 32)
    assert torch.allclose(ours.visual(images), theirs(fitted), atol=1e-5)
    (gradient,) = torch.autograd.grad(ours.visual(images).square().sum(), images)
    assert gradient.shape == images.shape and gradient.abs().max() > 0
    assert ours.visual.state_dict().keys() == theirs.state_dict().keys()
    assert type(ours.visual) is type(theirs)
    twin = copy.deepcopy(ours.visual)
    assert torch.equal(twin(images), ours.visual(images))


def test_resizing_after_normalising_is_resizing_before(pair):
    ours, _ = pair
    pixels = torch.rand(2, 3, 20, 20)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (ours.mean, ours.std))
    one = resized((pixels - mean) / std, (32, 32))
    other = (resized(pixels, (32, 32)) - mean) / std
    assert torch.allclose(one, other, atol=1e-5)


def test_shrinking_is_what_pillow_does():
    """Antialiased bicubic interpolation, up to Pillow's rounding to bytes after each of its two passes."""
    pixels = np.random.default_rng(0).integers(80, 176, (48, 48, 3), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC), dtype=np.float32)
    ours = resized(torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), (32, 32))[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - pillow).max() < 1.01


def test_methods_that_look_inside_see_the_resized_image(pair):
    ours, theirs = pair
    images = torch.randn(2, 3, 16, 16)
    fitted = F.interpolate(images, (32, 32), mode="bicubic")
    framed = VPPixel().wrap(ours.visual)
    assert torch.allclose(framed(images), framed(fitted), atol=1e-5)
    if isinstance(theirs, open_clip.transformer.VisionTransformer):
        pairs = zip(look(ours.visual, images), look(theirs, fitted), strict=True)
        assert all(torch.allclose(one, other, atol=1e-5) for one, other in pairs)
        prompted = VPToken().wrap(ours.visual)
        assert torch.allclose(prompted(images), prompted(fitted), atol=1e-5)

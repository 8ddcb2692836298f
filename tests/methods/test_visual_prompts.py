"""Visual prompts: where they enter, that nothing else moves, and that what is saved makes the same model again."""

import copy
from typing import get_args, get_type_hints

import pytest
import torch
import torch.nn.functional as F
from support.method_setting import D, equal, fit, make_batch, make_source, make_task
from torch import nn

from zsr.errors import ZsrError
from zsr.methods.adv import Adv
from zsr.methods.advvp import AdvVP
from zsr.methods.ce import CE
from zsr.methods.coadv import CoAdv
from zsr.methods.core.visual_prompts import LOSSES
from zsr.methods.imgcoadv import ImgCoAdv
from zsr.methods.tecoa import TeCoA
from zsr.methods.vp_pixel import VPPixel
from zsr.methods.vp_token import VPToken
from zsr.models.resize import accept_any_size
from zsr.training import fine_tune
from zsr.training.checkpoint import Checkpoint
from zsr.training.recipe import Recipe

torch.set_num_threads(1)


def vit() -> nn.Module:
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(12, 4, width=16, layers=2, heads=2, mlp_ratio=2.0, output_dim=D)


def resnet() -> nn.Module:
    from open_clip.modified_resnet import ModifiedResNet

    torch.manual_seed(0)
    return ModifiedResNet([1, 1, 1, 1], output_dim=D, heads=4, image_size=32, width=8)


CASES = {
    "token": (VPToken(tokens=3), vit, 12),
    "pixel": (VPPixel(width=2), vit, 12),
    "pixel-resnet": (VPPixel(), resnet, 32),
}
case = pytest.mark.parametrize(("method", "tower", "side"), CASES.values(), ids=CASES)


def test_tokens_enter_behind_the_patches_before_ln_pre():
    tower, images = vit(), make_batch(3, 12).images
    wrapped = VPToken(tokens=3).wrap(copy.deepcopy(tower), seed=1)
    assert wrapped.prompt.shape == (3, 16)
    tower.ln_pre.register_forward_pre_hook(
        lambda module, inputs: torch.cat([inputs[0], wrapped.prompt.expand(len(inputs[0]), -1, -1)], 1)
    )
    torch.testing.assert_close(wrapped(images), tower(images))
    assert not torch.allclose(wrapped(images), vit()(images), atol=1e-3)


def test_the_frame_is_added_to_the_normalised_border_and_nowhere_else():
    seen = []
    tower = vit()
    tower.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = make_batch(3, 12).images
    wrapped = VPPixel(width=2).wrap(tower, seed=1)
    wrapped(images)
    added = seen[0] - images
    for row in range(12):
        for column in range(12):
            border = row < 2 or row >= 10 or column < 2 or column >= 10
            assert (added[:, :, row, column].abs().max() > 0) == border
    assert torch.allclose(added[0], added[1], atol=1e-6)
    assert wrapped.prompt.numel() == 3 * (12 * 12 - 8 * 8)


@pytest.mark.parametrize(("side", "expected"), [(224, 30), (32, 4)])
def test_the_frame_keeps_its_share_of_the_image(side, expected):
    tower = nn.Identity()
    tower.image_size = side
    assert not VPPixel().wrap(tower).border[expected:-expected, expected:-expected].any()
    assert VPPixel().wrap(tower).border[expected - 1].all()


@case
def test_only_the_prompt_moves_and_what_is_saved_makes_the_model_again(method, tower, side, tmp_path):
    task = make_task(tower, moved=False)
    start = copy.deepcopy(task.visual)
    first = method.wrap(copy.deepcopy(start), task.seed).prompt.detach()
    fit(tmp_path, method, task, make_source(16, side), lr=1.0)
    assert equal(task.visual.visual, start)  # BatchNorm's statistics included
    assert equal(task.frozen, start)
    assert not torch.equal(task.visual.prompt, first)
    saved = fine_tune.trained_tensors(task.visual, task.original)
    assert saved.keys() == {"prompt"}
    again = method.wrap(start, seed=99)
    again.load_state_dict(saved, strict=False)
    images = task.normalise(make_batch(3, side).images)
    assert torch.equal(again.eval().requires_grad_(False)(images), task.visual(images))  # as the trained one is left


def test_an_unchanged_prompt_is_saved_all_the_same():
    task = make_task(vit, moved=False)
    task.wrap_student(VPToken().wrap)
    assert fine_tune.trained_tensors(task.visual, task.original).keys() == {"prompt"}


@case
def test_the_prompt_gets_the_gradient_of_the_loss(method, tower, side):
    task, batch = make_task(tower, moved=False, steps=1), make_batch(4, side)
    task.wrap_student(method.wrap)
    task.visual.train()
    method.loss(task, batch)[0].backward()
    assert task.visual.prompt.grad.isfinite().all()
    assert task.visual.prompt.grad.abs().min() > 0


NAMED = {"tecoa": TeCoA, "ce": CE, "adv": Adv, "coadv": CoAdv, "imgcoadv": ImgCoAdv}


@pytest.mark.parametrize("criterion", NAMED)
@pytest.mark.parametrize("method", [VPToken, VPPixel, AdvVP])
def test_the_loss_is_that_of_the_method_that_its_name_says(method, criterion):
    """On the prompted tower; those losses are held against loops elsewhere (tests/test_methods_{losses,rivals}.py)."""
    source, batch, losses = make_source(16, 12), make_batch(4, 12), []
    for lossy in (method(criterion=criterion), NAMED[criterion]()):
        task = make_task(vit, moved=False)
        task.wrap_student(method().wrap)
        lossy.prepare(task, source)
        losses.append(lossy.loss(task, batch)[0].item())
    assert losses[0] == losses[1]
    assert set(LOSSES) == set(get_args(get_type_hints(method)["criterion"])) == set(NAMED)


@pytest.mark.parametrize("method", [VPPixel(width=2), AdvVP(width=2)], ids=["vp-pixel", "advvp"])
@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_the_frame_is_put_around_what_the_tower_has_resized(method, mode):
    tower, images = vit(), make_batch(3, 8).images
    accept_any_size(tower, (12, 12), mode)
    wrapped = method.wrap(tower, seed=1)
    larger = F.interpolate(images, size=(12, 12), mode=mode, align_corners=False)
    assert torch.equal(wrapped(images), wrapped(larger))
    assert not torch.equal(wrapped(images), wrapped(torch.zeros_like(larger)))


def test_an_interrupted_training_of_a_prompt_ends_bit_identical(tmp_path):
    recipe = Recipe(epochs=3, batch=8, lr=1.0, warmup=1)
    ends = []
    for stop in (None, 3):
        for attempt in range(1 if stop is None else 2):
            task = make_task(vit, moved=False)
            checkpoint = Checkpoint(tmp_path / "last.ckpt", "spec")

            def log(row, checkpoint=checkpoint, wanted=stop if attempt == 0 else None):
                checkpoint.asked_to_stop = row["step"] + 1 == wanted

            run = (VPToken(), task, make_source(16, 12), recipe)
            if stop and attempt == 0:
                with pytest.raises(ZsrError, match="stopped by a signal"):
                    fine_tune.fine_tune(*run, device="cpu", checkpoint=checkpoint, log=log)
            else:
                fine_tune.fine_tune(*run, device="cpu", checkpoint=checkpoint, log=log)
                checkpoint.done()
        ends.append(task.visual.prompt)
    assert torch.equal(*ends)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ZsrError, match="vp-token: needs the patch tokens"):
        fit(tmp_path, VPToken(), make_task(resnet))
    with pytest.raises(ZsrError, match="tokens is 0"):
        fit(tmp_path, VPToken(tokens=0), make_task(vit))
    with pytest.raises(ZsrError, match="width is 6, the frame does not fit into images of 12 × 12"):
        fit(tmp_path, VPPixel(width=6), make_task(vit))
    with pytest.raises(ZsrError, match="does not say its image size"):
        fit(tmp_path, VPPixel(), make_task())

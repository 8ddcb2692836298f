"""Visual prompts: where they enter, that nothing else moves, and that what is saved makes the same model again."""

import copy

import pytest
import torch
from method_setting import D, equal, fit, make_batch, make_source, make_task
from torch import nn

from zsr import train
from zsr.checkpoint import Checkpoint
from zsr.errors import ZsrError
from zsr.methods.prompted import LOSSES
from zsr.methods.vp_pixel import VPPixel
from zsr.methods.vp_token import VPToken
from zsr.recipe import Recipe

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
    assert not VPPixel().wrap(tower).place[expected:-expected, expected:-expected].any()
    assert VPPixel().wrap(tower).place[expected - 1].all()


@case
def test_only_the_prompt_moves_and_what_is_saved_makes_the_model_again(method, tower, side, tmp_path):
    task = make_task(tower, moved=False)
    start = copy.deepcopy(task.visual)
    first = method.wrap(copy.deepcopy(start), task.seed).prompt.detach()
    fit(tmp_path, method, task, make_source(16, side), lr=1.0)
    assert equal(task.visual.visual, start)  # BatchNorm's statistics included
    assert equal(task.frozen, start)
    assert not torch.equal(task.visual.prompt, first)
    saved = train.trained_tensors(task.visual, task.original)
    assert saved.keys() == {"prompt"}
    again = method.wrap(start, seed=99)
    again.load_state_dict(saved, strict=False)
    images = task.normalise(make_batch(3, side).images)
    assert torch.equal(again.eval().requires_grad_(False)(images), task.visual(images))  # as the trained one is left


def test_an_unchanged_prompt_is_saved_all_the_same():
    task = make_task(vit, moved=False)
    task.dress(VPToken().wrap)
    assert train.trained_tensors(task.visual, task.original).keys() == {"prompt"}


@case
def test_the_prompt_gets_the_gradient_of_the_loss(method, tower, side):
    task, batch = make_task(tower, moved=False, steps=1), make_batch(4, side)
    task.dress(method.wrap)
    task.visual.train()
    method.loss(task, batch)[0].backward()
    assert task.visual.prompt.grad.isfinite().all()
    assert task.visual.prompt.grad.abs().min() > 0


@pytest.mark.parametrize("criterion", LOSSES)
def test_every_loss_of_the_table_works_under_prompts(criterion, tmp_path):
    task = make_task(vit, moved=False)
    fit(tmp_path, VPToken(criterion=criterion), task, make_source(16, 12), lr=1.0)
    other = fit(tmp_path, VPToken(), make_task(vit, moved=False), make_source(16, 12), lr=1.0)
    assert torch.equal(task.visual.prompt, other.visual.prompt) == (criterion == "tecoa")


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
                    train.fine_tune(*run, device="cpu", checkpoint=checkpoint, log=log)
            else:
                train.fine_tune(*run, device="cpu", checkpoint=checkpoint, log=log)
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
    with pytest.raises(ZsrError, match="unknown criterion 'tekoa'; did you mean 'tecoa'"):
        VPPixel(criterion="tekoa")

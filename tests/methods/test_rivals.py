"""TeCoA's rival losses and partial forms: what they see in place of texts and labels, and which tensors train."""

import math

import pytest
import torch
from support.method_setting import (
    SCALE,
    B,
    C,
    D,
    Fixed,
    Views,
    cosine,
    fit,
    gradient_check,
    make_batch,
    make_source,
    make_task,
    mean,
)

from zsr.errors import ZsrError
from zsr.methods.adv import Adv
from zsr.methods.coadv import CoAdv
from zsr.methods.core.augmentation import augment
from zsr.methods.imgcoadv import ImgCoAdv
from zsr.methods.tecoa import TeCoA
from zsr.methods.tecoa_partial import TeCoAPartial
from zsr.methods.tecoa_pseudo import TeCoAPseudo
from zsr.training import fine_tune

torch.set_num_threads(1)


def setting(method):
    task, batch = make_task(), make_batch()
    method.prepare(task, make_source())
    return task, batch, TeCoA().attack(task, batch).x


def log_loss(z, place):
    return math.log(sum(math.exp(v) for v in z)) - z[place]


@pytest.mark.parametrize("method", [Adv(), CoAdv()], ids=["adv", "coadv"])
def test_another_head_in_place_of_the_texts(method, monkeypatch):
    task, batch, adversarial = setting(method)
    made = {name: value.double().tolist() for name, value in task.extras.items()}

    def reference(views, held):
        total = 0.0
        for f, y in zip(views.adv, views.labels, strict=True):
            if "codes" in made:
                z = [SCALE * cosine(f, code) for code in made["codes"]]
            else:
                rows = zip(made["adv_weight"], made["adv_bias"], strict=True)
                z = [sum(w * x for w, x in zip(row, f, strict=True)) + bias for row, bias in rows]
            total += log_loss(z, y)
        return total / B

    fixed = Fixed(monkeypatch, adversarial)
    loss, _ = method.loss(task, batch)
    views = Views(task, batch, adversarial)
    assert loss.item() == pytest.approx(reference(views, views), rel=2e-5)
    assert fixed.objective(task.features(adversarial)).mean().item() == pytest.approx(loss.item(), rel=1e-6)
    gradient_check(method, task, batch, adversarial, reference, monkeypatch)


def test_the_head_of_adv_fits_the_original_and_is_a_function_of_the_source():
    heads = []
    for moved in (False, True):  # the student's weights do not count: a resumed training makes the same head
        task = make_task(moved=False)
        if moved:
            with torch.no_grad():
                task.visual[1].weight.add_(1)
        source = make_source(12)
        Adv(ridge=0).prepare(task, source)
        heads.append(task.extras)
    assert torch.equal(heads[0]["adv_weight"], heads[1]["adv_weight"])
    features = task.frozen_features(torch.from_numpy(source.images).float() / 255)
    fitted = torch.nn.functional.linear(features, heads[0]["adv_weight"], heads[0]["adv_bias"])
    start = math.log(C)
    loss = torch.nn.functional.cross_entropy(fitted, torch.from_numpy(source.labels)).item()
    assert loss < 0.7 * start
    weight = heads[0]["adv_weight"].clone().requires_grad_()
    logits = torch.nn.functional.linear(features, weight, heads[0]["adv_bias"])
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(source.labels)).backward()
    assert weight.grad.norm() < 0.05  # at the minimum


def test_codes_are_random_unit_and_keyed_by_seed():
    made = []
    for seed in (3, 3, 4):
        task = make_task()
        task.seed = seed
        CoAdv().prepare(task, make_source())
        made.append(task.extras["codes"])
    assert made[0].shape == (C, D)
    torch.testing.assert_close(made[0].norm(dim=1), torch.ones(C))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_imgcoadv_is_infonce_over_the_batch(monkeypatch):
    method = ImgCoAdv()
    task, batch, adversarial = setting(method)
    seen = augment(batch.images, task.seed, batch.step)
    other = batch._replace(images=seen)

    def reference(views, held):
        total = 0.0
        for i, f in enumerate(views.adv):
            total += log_loss([cosine(f, v) / 0.07 for v in views.clean], i)
        return total / B

    fixed = Fixed(monkeypatch, adversarial)
    loss, _ = method.loss(task, batch)
    views = Views(task, other, adversarial)
    assert loss.item() == pytest.approx(reference(views, views), rel=2e-5)
    assert fixed.objective(task.features(adversarial)).mean().item() == pytest.approx(loss.item(), rel=1e-5)
    assert not augment(batch.images, task.seed, batch.step).equal(augment(batch.images, task.seed, batch.step + 1))
    monkeypatch.setattr("zsr.methods.imgcoadv.augment", lambda images, seed, step, part, parts: images)
    gradient_check(method, task, other, adversarial, reference, monkeypatch)


def test_views_are_images_cut_from_the_image():
    """A ramp stays a ramp: crops scale it, flips turn it; a grey image stays grey; all stay in [0, 1]."""
    ramp = torch.linspace(0.3, 0.6, 16).expand(64, 3, 16, 16)
    made = augment(ramp, 0, 0)
    assert made.min() >= 0
    assert made.max() <= 1
    assert (made.std(1) < 1e-5).all()
    slope = made[:, 0, 8, 10] - made[:, 0, 8, 5]
    assert 0.2 < (slope < 0).float().mean() < 0.8
    assert (made[:, 0].std(1) < 1e-5).all()  # rows do not differ
    assert torch.equal(augment(ramp, 0, 0), made)
    assert not torch.equal(augment(ramp, 1, 0), made)


def test_pseudo_labels_are_the_originals_zero_shot_predictions(monkeypatch):
    task, batch, adversarial = setting(TeCoA())
    views = Views(task, batch, adversarial)
    guessed = [max(range(C), key=lambda c: cosine(f, views.head[c])) for f in views.clean0]
    assert guessed != batch.labels.tolist()
    Fixed(monkeypatch, adversarial)
    loss, _ = TeCoAPseudo().loss(task, batch)
    truth = mean(
        log_loss([SCALE * cosine(f, t) for t in views.head], y) for f, y in zip(views.adv, guessed, strict=True)
    )
    assert loss.item() == pytest.approx(truth, rel=2e-5)


def vit():
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(8, 4, width=16, layers=2, heads=2, mlp_ratio=2.0, output_dim=D)


def resnet():
    from open_clip.modified_resnet import ModifiedResNet

    torch.manual_seed(0)
    return ModifiedResNet([1, 1, 1, 2], output_dim=D, heads=4, image_size=32, width=8)


LAST = "transformer.resblocks.1."
ENDS = {
    "five tensors of a ViT": (
        vit,
        {},
        {"ln_post.weight", "ln_post.bias", f"{LAST}ln_2.weight", f"{LAST}ln_2.bias", f"{LAST}mlp.c_proj.bias"},
    ),
    "two tensors of a ResNet": (resnet, {"tensors": 2}, {"attnpool.c_proj.weight", "attnpool.c_proj.bias"}),
}


@pytest.mark.parametrize(("tower", "settings", "expected"), ENDS.values(), ids=ENDS)
def test_the_last_tensors_in_the_order_of_openai(tower, settings, expected):
    assert set(TeCoAPartial(**settings).trainable(tower())) == expected


def test_five_tensors_are_as_many_numbers_as_five_tokens():
    tower = vit()
    shapes = dict(tower.named_parameters())
    assert sum(shapes[name].numel() for name in TeCoAPartial().trainable(tower)) == 5 * 16


@pytest.mark.parametrize(("tower", "inside", "outside"), [(vit, LAST, "blocks.0."), (resnet, "layer4.1.", "layer4.0.")])
def test_the_last_block(tower, inside, outside):
    names = TeCoAPartial(block=True).trainable(tower())
    every = [name for name, _ in tower().named_parameters()]
    assert {name for name in every if name.startswith(inside)} <= set(names)
    assert not any(outside in name for name in names)
    after = ("ln_post.", "proj") if tower is vit else ("attnpool.",)
    assert {name for name in names if not name.startswith(inside)} == {n for n in every if n.startswith(after)}


@pytest.mark.parametrize("tower", [vit, resnet])
@pytest.mark.parametrize("settings", [{}, {"block": True}], ids=["tensors", "block"])
def test_only_the_end_moves(tower, settings, tmp_path):
    method = TeCoAPartial(**settings)
    side = 8 if tower is vit else 32
    task = make_task(tower, moved=False)
    fit(tmp_path, method, task, make_source(8, side), batch=4, batchnorm="eval")
    moved = set(fine_tune.trained_tensors(task.visual, task.original))
    assert moved <= set(method.trainable(task.visual))
    assert len(moved) >= 5


def test_mistakes_of_partial_fine_tuning_are_named(tmp_path):
    for count in (0, 100):
        with pytest.raises(ZsrError, match=f"tensors is {count}, the image tower has 1 to 4"):
            fit(tmp_path, TeCoAPartial(tensors=count), make_task())
    with pytest.raises(ZsrError, match="set tensors"):
        fit(tmp_path, TeCoAPartial(block=True), make_task())

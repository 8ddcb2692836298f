"""Pretraining: learns, resumes to the bit, and counts no equal caption as a negative."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.architectures import ARCH

from zsr.data.readers.drawn import Drawn
from zsr.errors import ZsrError
from zsr.models.backbone import build
from zsr.training.pretrain import Pretraining, PretrainRecipe, caption_table

RECIPE = PretrainRecipe(steps=40, batch=32, lr=5e-3, warmup=4)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, list[str]]:
    torch.set_num_threads(1)
    chunk = next(iter(Drawn(captions=2).read("train")))
    return chunk.images[:200], chunk.captions[:200]


def start(data, recipe: PretrainRecipe = RECIPE, seed: int = 0) -> Pretraining:
    return Pretraining(build(ARCH, seed), *data, recipe, seed)


def weights(training: Pretraining) -> dict:
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def test_the_loss_falls(data):
    rows = list(start(data, seed=2))
    assert [row["step"] for row in rows] == list(range(40))
    assert np.mean([row["loss"] for row in rows[-5:]]) < 0.8 * rows[0]["loss"]
    assert rows[3]["lr"] == pytest.approx(RECIPE.lr) and rows[-1]["lr"] < 0.01 * RECIPE.lr


def test_same_seed_same_weights_other_seed_others(data):
    recipe = PretrainRecipe(steps=3, batch=32, warmup=1)
    runs = [start(data, recipe, seed) for seed in (0, 0, 1)]
    for run in runs:
        list(run)
    one, same, other = map(weights, runs)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_interrupted_it_ends_bit_identical(data, tmp_path: Path):
    recipe = PretrainRecipe(steps=12, batch=32, warmup=2)  # 6 steps an epoch: the break lies within the second
    whole, broken = start(data, recipe), start(data, recipe)
    list(whole)
    for _ in range(8):
        broken.advance()
    torch.save(broken.state_dict(), tmp_path / "state")
    resumed = start(data, recipe)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert [row["step"] for row in resumed] == [8, 9, 10, 11]
    one, two = weights(whole), weights(resumed)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_batch_has_each_caption_once(data):
    training = start(data)
    batch = training.batch(3)
    images, tokens, owner = batch.images, batch.tokens, batch.owner
    assert len(images) == len(owner) == 32
    assert len(tokens) == len(tokens.unique(dim=0)) == int(owner.max()) + 1
    first = [tuple(map(bytes, training.batch(s).images.numpy())) for s in range(6)]
    assert len({image for batch in first for image in batch}) == 192  # an epoch takes no image twice


def test_the_loss_without_repeats_is_clips(data):
    """With as many captions as images, it is the symmetric cross-entropy with the identity as target."""
    training = start(data)
    batch = training.batch(0)
    images, tokens = batch.images, batch.tokens
    n = min(len(tokens), len(images))
    loss, _ = training.loss(batch._replace(images=images[:n], tokens=tokens[:n], owner=torch.arange(n), captions=n))
    model = training.model
    f, t = F.normalize(model.visual(images[:n]), dim=1), F.normalize(model.encode_text(tokens[:n]), dim=1)
    z = model.logit_scale.exp() * f @ t.T
    expected = (F.cross_entropy(z, torch.arange(n)) + F.cross_entropy(z.T, torch.arange(n))) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_images_of_one_caption_are_no_negatives(data):
    """Two images of the same caption: nothing to tell apart, so the image side costs nothing."""
    training = start(data)
    batch = training.batch(0)
    owner = torch.zeros(2, dtype=torch.int64)
    pair = batch._replace(images=batch.images[:2], tokens=batch.tokens[:1], owner=owner, captions=1)
    loss, seen = training.loss(pair)
    assert seen["accuracy"] == 1 and loss.item() < 0.5 * (np.log(2) + 0.7)


def test_caption_table():
    known, choices = caption_table(["a red moon | a moon", "a moon | a red moon"])
    assert known == ["a red moon", "a moon"] and choices.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ZsrError, match="equally many"):
        caption_table(["a red moon | a moon", "a moon"])


def test_bad_data_gets_one_line(data):
    images, captions = data
    with pytest.raises(ZsrError, match="pairs"):
        start((images, captions[:-1]))
    with pytest.raises(ZsrError, match="less than one batch"):
        start((images[:8], captions[:8]))
    training = start(data)
    with torch.no_grad():
        next(training.model.parameters()).fill_(torch.nan)
    with pytest.raises(ZsrError, match="loss is nan at step 0, images ") as caught:
        training.advance()
    assert str(training.chosen(0).tolist()) in str(caught.value)


def test_a_gradient_that_is_nan_spoils_no_weight(data, monkeypatch):
    training = start(data)
    before = {name: value.clone() for name, value in training.model.named_parameters()}
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda parameters, most: torch.tensor(torch.nan))
    with pytest.raises(ZsrError, match="gradient is nan at step 0, images "):
        training.advance()
    assert all(torch.equal(value, before[name]) for name, value in training.model.named_parameters())


def test_finish_freezes(data):
    training = start(data, PretrainRecipe(steps=1, batch=32, warmup=0))
    list(training)
    finished = copy.deepcopy(training).finish()
    assert not finished.visual.training and not any(p.requires_grad for p in finished.clip.parameters())

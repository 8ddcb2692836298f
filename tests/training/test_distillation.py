"""Pretraining with a teacher: its loss by hand, what a teacher is asked, equal weights after an interruption."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.architectures import ARCH
from support.project import refused

from zsr.data.readers.drawn import Drawn
from zsr.errors import ZsrError
from zsr.models.backbone import Backbone, build
from zsr.training.captions import all_texts, of_class
from zsr.training.distillation import Distillation, DistilRecipe, TeacherTargets, check_student, compute_targets
from zsr.training.pretrain import CHUNK, Pretraining, PretrainRecipe

RECIPE = DistilRecipe(steps=30, batch=32, lr=5e-3, warmup=4, text_batch=3)
BEYOND = [text for name in ("four", "moon", "heart", "cross") for text in of_class(name, ["this is not {}"])]
COUNT = CHUNK + 40  # the last chunk is a shorter one


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, list[str]]:
    torch.set_num_threads(1)
    chunk = next(iter(Drawn(captions=2).read("train")))
    return chunk.images[:COUNT], chunk.captions[:COUNT]


@pytest.fixture(scope="module")
def teacher() -> Backbone:
    """Another initialisation, wider inside and as wide outside."""
    wider = {**ARCH["vision_cfg"], "width": 64}
    return build({**ARCH, "vision_cfg": wider, "mean": [0.3, 0.4, 0.5]}, seed=7)


@pytest.fixture(scope="module")
def targets(data, teacher) -> TeacherTargets:
    return compute_targets(teacher, data[0], all_texts(data[1], BEYOND), "cpu")


def start(data, targets, recipe: DistilRecipe = RECIPE, beyond: list[str] = BEYOND, seed: int = 0) -> Distillation:
    return Distillation(build(ARCH, seed), *data, targets, beyond, recipe, seed)


def unit(rows: torch.Tensor) -> np.ndarray:
    rows = rows.detach().double().numpy()
    return rows / np.sqrt((rows**2).sum(1, keepdims=True))


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def by_hand(training: Distillation, teacher: Backbone, step: int, weight: float) -> tuple[float, int]:
    """The loss of a step in float64, from the images and the words of the batch alone, and how many texts it has."""
    model, chosen = training.model, training.chosen(step)
    batch = training.batch(step)
    texts = [dict(zip(map(tuple, training.backbone.tokens(list(training.targets.texts)).tolist()),
                      training.targets.texts, strict=True))[tuple(row)] for row in batch.tokens.tolist()]  # fmt: skip
    with torch.no_grad():
        f, t = unit(model.visual(batch.images)), unit(model.encode_text(batch.tokens))
        pixels = torch.from_numpy(training.images[chosen]).float() / 255
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (teacher.mean, teacher.std))
        their_f, their_t = unit(teacher.visual((pixels - mean) / std)), unit(teacher.encode_text(texts))
    scale, owner = model.logit_scale.exp().item(), batch.owner.numpy()
    z = scale * f @ t[: batch.captions].T
    of_image = -np.log(softmax(z)[np.arange(len(f)), owner]).mean()
    p = softmax(z.T)
    of_text = np.mean([-np.log(p[j, owner == j]).mean() for j in range(batch.captions)])
    cosines = (f * their_f).sum(1).mean() + (t * their_t).sum(1).mean()
    return (of_image + of_text) / 2 + weight * (2 - cosines), len(texts)


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.5])
def test_the_loss_is_the_formula(data, targets, teacher, weight):
    training = start(data, targets, DistilRecipe(steps=30, batch=32, weight=weight, text_batch=3))
    for step in (0, 7):
        batch = training.batch(step)
        loss, seen = training.loss(batch)
        expected, count = by_hand(training, teacher, step, weight)
        assert loss.item() == pytest.approx(expected, rel=2e-5) and count == batch.captions + 3
        assert set(seen) == {"accuracy", "contrastive", "image_cosine", "text_cosine"}


def test_without_weight_it_is_plain_pretraining(data, targets):
    """To the last bit: the teacher's part has no gradient."""
    settings = {"steps": 3, "batch": 32, "warmup": 1}
    plain = Pretraining(build(ARCH, 0), *data, PretrainRecipe(**settings), 0)
    followed = start(data, targets, DistilRecipe(**settings, weight=0.0, text_batch=0))
    for one, other in zip(plain, followed, strict=True):
        assert one["loss"] == other["loss"] and one["grad_norm"] == other["grad_norm"]


def test_a_student_comes_nearer_to_its_teacher(data, targets):
    rows = list(start(data, targets))
    for name in ("image_cosine", "text_cosine"):
        assert np.mean([row[name] for row in rows[-5:]]) > rows[0][name] + 0.2
    assert all(math.isfinite(value) for row in rows for value in row.values())


def test_interrupted_it_ends_bit_identical(data, targets, tmp_path: Path):
    whole, broken = start(data, targets), start(data, targets)
    list(whole)
    for _ in range(17):
        broken.advance()
    torch.save(broken.state_dict(), tmp_path / "state")
    resumed = start(data, targets)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert [row["step"] for row in resumed] == list(range(17, 30))
    one, two = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_what_a_teacher_says(data, teacher, targets):
    """Every image and every text at its own place, of unit length, and the same when it is asked again."""
    images, captions = data
    texts = all_texts(captions, BEYOND)
    assert texts == sorted(set(texts)) and set(BEYOND) < set(texts) and list(targets.texts) == texts
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (teacher.mean, teacher.std))
    for i in (0, CHUNK - 1, CHUNK, COUNT - 1):
        with torch.no_grad():
            alone = teacher.visual((torch.from_numpy(images[i : i + 1]).float() / 255 - mean) / std)
        assert np.allclose(unit(alone)[0], targets.images[i].numpy(), atol=1e-5)
    for text in (texts[0], BEYOND[2], texts[-1]):
        with torch.no_grad():
            alone = unit(teacher.encode_text([text]))[0]
        assert np.allclose(alone, targets.vectors[targets.texts[text]].numpy(), atol=1e-5)
    chunks = []
    again = compute_targets(teacher, images, texts, "cpu", lambda: chunks.append(1))
    assert (
        torch.equal(again.images, targets.images) and torch.equal(again.vectors, targets.vectors) and len(chunks) == 2
    )


def test_further_texts_are_no_negatives_and_no_caption_stands_twice(data, targets):
    beyond = [*BEYOND, BEYOND[0], data[1][0].split(" | ")[0]]  # one twice, and one that is a caption
    training = start(data, targets, beyond=beyond)
    assert len(training.further) == len(BEYOND)
    drawn = [training.batch(step) for step in range(12)]
    for batch in drawn:
        assert (
            len(batch.tokens)
            == len(batch.tokens.unique(dim=0))
            == len(training.text_targets[batch.texts])
            == batch.captions + 3
        )
        assert int(batch.owner.max()) + 1 == batch.captions
    seen = torch.cat([batch.tokens[batch.captions :] for batch in drawn]).unique(dim=0)
    assert len(seen) == len(BEYOND), "each has its turn"
    everything = start(data, targets, DistilRecipe(steps=1, batch=32, text_batch=500)).batch(0)
    assert len(everything.tokens) - everything.captions == len(BEYOND)
    none = start(data, targets, beyond=[]).batch(0)
    assert len(none.tokens) == none.captions


def test_a_student_that_cannot_follow_is_refused_before_the_teacher_is_asked(teacher):
    with refused("its features have 16 dimensions, the student's 8"):
        check_student(teacher, build({**ARCH, "embed_dim": 8}), [])
    with pytest.raises(ZsrError, match="zeppelin"):
        check_student(teacher, build(ARCH), ["a zeppelin"])


def test_a_teacher_that_knows_nothing_is_refused(data, teacher):
    broken = build(ARCH, 1)
    with torch.no_grad():
        broken.visual.proj.fill_(torch.nan)
    with pytest.raises(ZsrError, match="its feature of image 0 is not finite; take another teacher"):
        compute_targets(broken, data[0], BEYOND, "cpu")
    with pytest.raises(ZsrError, match=f"{COUNT - 1} images and {COUNT} features of the teacher"):
        Distillation(
            build(ARCH),
            data[0][1:],
            data[1][1:],
            compute_targets(teacher, data[0], all_texts(data[1], []), "cpu"),
            [],
            RECIPE,
        )

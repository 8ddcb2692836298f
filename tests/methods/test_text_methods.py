"""LAAT and TIMA: what they make of the texts, their losses in plain loops, and that evaluation gets the same texts."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from support.method_setting import (
    SCALE,
    C,
    D,
    Fixed,
    Views,
    cosine,
    distance,
    dressed,
    equal,
    fit,
    gradient_check,
    kl_of,
    make_batch,
    make_source,
    make_task,
    mean,
    probabilities,
)

from zsr.methods import tima
from zsr.methods.laat import LAAT, angles, expand
from zsr.methods.tecoa import TeCoA
from zsr.methods.tima import TIMA
from zsr.training import fine_tune

torch.set_num_threads(1)


def setting(method):
    task, batch = make_task(), make_batch()
    adversarial = TeCoA().attack(task, batch).x
    dressed(method, task)
    return task, batch, adversarial


def unit(vector):
    length = math.sqrt(sum(v * v for v in vector))
    return [v / length for v in vector]


def expanded(head, source):
    """The authors' expansion, without their rotations: polar angle to the centre times (π/2) / its largest."""
    centre = unit([mean(t[d] for t in source) for d in range(D)])
    reach = max(math.acos(cosine(t, centre)) for t in source)
    made = []
    for t in head:
        along = sum(a * b for a, b in zip(t, centre, strict=True))
        aside = unit([v - along * c for v, c in zip(t, centre, strict=True)])
        turned = math.acos(along) * math.pi / 2 / reach
        made.append([math.cos(turned) * c + math.sin(turned) * u for c, u in zip(centre, aside, strict=True)])
    return made


def test_anchors_are_the_expansion_and_unseen_classes_follow_the_source():
    task = dressed(LAAT(), make_task())
    source = task.head.double().tolist()
    unseen = F.normalize(torch.randn(3, D, generator=torch.Generator().manual_seed(9)), dim=1)
    for head in (task.head, unseen):
        found = LAAT().head(task.visual, head)
        torch.testing.assert_close(found, torch.tensor(expanded(head.double().tolist(), source)), rtol=1e-5, atol=1e-5)
    assert torch.equal(task.extras["anchors"], LAAT().head(task.visual, task.head))


def test_expansion_opens_a_narrow_cone_to_a_right_angle():
    generator = torch.Generator().manual_seed(0)
    narrow = F.normalize(torch.ones(D) + 0.05 * torch.randn(20, D, generator=generator), dim=1)
    centre = F.normalize(narrow.mean(0), dim=0)
    reach = angles(narrow, centre).max()
    wide = expand(narrow, centre, reach)
    assert angles(wide, centre).max().item() == pytest.approx(math.pi / 2, abs=1e-3)
    assert (narrow @ narrow.T).mean() > 0.99
    assert (wide @ wide.T).mean() < 0.7
    torch.testing.assert_close(wide.norm(dim=1), torch.ones(20))
    torch.testing.assert_close(expand(centre[None], centre, reach), centre[None])


def laat(views, held):
    anchors = expanded(views.head, views.head)
    total = mean(-math.log(probabilities(f, anchors)[y]) for f, y in zip(views.adv, views.labels, strict=True))
    return total - 0.7 * mean(cosine(a, b) for a, b in zip(views.clean, views.adv, strict=True))


def texts_of(task):
    matrix = task.visual.text_map.double().tolist()
    return [unit([sum(a * b for a, b in zip(row, t, strict=True)) for row in matrix]) for t in task.head.tolist()]


def adaptive(texts):
    """Margins in units of m."""
    d = [[distance(a, b) for b in texts] for a in texts]
    pairs = [d[j][k] for j in range(C) for k in range(C) if j != k]
    low, high = min(pairs), max(pairs)
    return [[0.0 if j == k else (high - d[j][k]) / (high - low) for k in range(C)] for j in range(C)]


def tima_of(texts):
    margins = adaptive(texts)

    def reference(views, held, swap=False):
        total = 0.0
        for f, g, y in zip(views.adv, held.clean0, views.labels, strict=True):
            z = [SCALE * (cosine(f, t) + 0.1 * m) for t, m in zip(texts, margins[y], strict=True)]
            total += math.log(sum(math.exp(v) for v in z)) - z[y]
            pair = probabilities(g, texts), probabilities(f, texts)
            total += 0.5 * kl_of(*(pair[::-1] if swap else pair))
        return total / len(views.labels)

    return reference


class InnerViews(Views):
    """Features of a student that is wrapped."""

    def __init__(self, task, batch, adversarial, student=None):
        super().__init__(task, batch, adversarial, student or copy.deepcopy(task.visual).double())


@pytest.mark.parametrize("method", [LAAT(beta=0.7), TIMA(distil=0.5)], ids=["laat", "tima"])
def test_loss_and_gradient_are_the_formula(method, monkeypatch):
    task, batch, adversarial = setting(method)
    reference = laat if isinstance(method, LAAT) else tima_of(texts_of(task))
    fixed = Fixed(monkeypatch, adversarial)
    views = InnerViews(task, batch, adversarial)
    loss, _ = method.loss(task, batch)
    assert loss.item() == pytest.approx(reference(views, views), rel=2e-5)
    if reference is not laat:
        assert abs(reference(views, views, swap=True) - loss.item()) > 1e-3
    texts = expanded(views.head, views.head) if reference is laat else texts_of(task)
    climbed = [-math.log(probabilities(f, texts)[y]) for f, y in zip(views.adv, views.labels, strict=True)]
    assert fixed.objective(task.features(adversarial)).tolist() == pytest.approx(climbed, rel=1e-4)
    gradient_check(method, task, batch, adversarial, reference, monkeypatch, views=InnerViews)


def stage_one(texts, features, head):
    """L_IAT with λ1 = λ2 = 1."""
    pairs = [1 / distance(texts[j], texts[k]) ** 2 for j in range(C) for k in range(C) if j != k]
    return mean(pairs) + mean(kl_of(probabilities(f, head), probabilities(f, texts)) for f in features)


def test_stage_one_of_tima_ends_at_a_minimum_of_its_loss():
    task = dressed(TIMA(text_iterations=200), make_task())
    images = torch.from_numpy(make_source().images).float() / 255
    features, head = task.frozen_features(images).double().tolist(), task.head.double().tolist()
    reached, start = stage_one(texts_of(task), features, head), stage_one(head, features, head)
    assert reached < start - 1e-3
    matrix = task.visual.text_map
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        step = 0.03 * torch.randn(D, D, generator=generator)
        matrix.add_(step)
        assert stage_one(texts_of(task), features, head) > reached - 1e-5
        matrix.sub_(step)


def test_energy_and_margins_are_their_formulas():
    texts = make_task().head
    listed = texts.double().tolist()
    pairs = [1 / distance(listed[j], listed[k]) ** 2 for j in range(C) for k in range(C) if j != k]
    assert tima.energy(texts).item() == pytest.approx(mean(pairs), rel=1e-5)
    torch.testing.assert_close(tima.closeness(texts), torch.tensor(adaptive(listed)), rtol=1e-4, atol=1e-5)
    near = (texts @ texts.T).masked_fill(torch.eye(C, dtype=torch.bool), -2).argmax()
    assert tima.closeness(texts).flatten()[near] == 1  # the closest pair has the largest margin


@pytest.mark.parametrize("method", [LAAT(), TIMA()], ids=["laat", "tima"])
def test_what_is_saved_makes_model_and_texts_again(method, tmp_path):
    task = make_task(moved=False)
    start = copy.deepcopy(task.visual)
    fit(tmp_path, method, task)
    assert equal(task.frozen, start)
    saved = fine_tune.trained_tensors(task.visual, task.original)
    again = method.wrap(start)
    missing, unexpected = again.load_state_dict(saved, strict=False)
    assert not missing
    assert not unexpected
    images = make_batch().images
    assert torch.equal(again(task.normalise(images)), task.features(images))
    assert torch.equal(method.head(again, task.head), method.head(task.visual, task.head))
    assert not torch.equal(method.head(again, task.head), task.head)


def test_without_margin_and_distillation_tima_is_tecoa_towards_its_texts(monkeypatch):
    method = TIMA(margin=0.0, distil=0.0)
    task, batch, adversarial = setting(method)
    Fixed(monkeypatch, adversarial)
    loss, _ = method.loss(task, batch)
    task.head = task.extras["texts"]
    assert torch.equal(loss, TeCoA().loss(task, batch)[0])

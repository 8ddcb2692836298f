"""dual-teacher and linear-probe: losses in plain loops, what is constant, what trains, what evaluation gets."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.method_setting import (
    B,
    C,
    D,
    Fixed,
    Views,
    cross_entropy,
    dressed,
    equal,
    fit,
    gradient_check,
    kl_of,
    make_batch,
    make_source,
    make_task,
    mean,
    norm_tower,
    plain_tower,
    probabilities,
)

from zsr.errors import ZsrError
from zsr.methods.core.source_set import SourceSet
from zsr.methods.dual_teacher import DualTeacher
from zsr.methods.linear_probe import LinearProbe
from zsr.methods.tecoa import TeCoA

torch.set_num_threads(1)


def teacher_of(tower=plain_tower):
    """A network that is neither the student nor its original, and class embeddings that are not the student's."""
    torch.manual_seed(8)
    head = F.normalize(torch.randn(C, D), dim=1)
    return {"teacher": tower(), "teacher_head": head}


class Taught(Views):
    """With the robust teacher's features on the adversarial images, and its class embeddings."""

    def __init__(self, task, batch, adversarial, student=None) -> None:
        super().__init__(task, batch, adversarial, student)
        with torch.no_grad():
            x = task.normalise(adversarial).double()
            self.robust = copy.deepcopy(task.teacher).double()(x).tolist()
        self.robust_head = task.teacher_head.double().tolist()


def dual(views, held, swap=False, hold=False):
    clean, kind = (held if hold else views).clean, (lambda p, q: kl_of(q, p)) if swap else kl_of
    terms = []
    for taught, texts, student in ((held.clean0, views.head, clean), (held.robust, held.robust_head, views.adv)):
        pairs = zip(taught, student, strict=True)
        terms.append(mean(kind(probabilities(t, texts), probabilities(s, views.head)) for t, s in pairs))
    return cross_entropy(views.adv, views) + sum(w * term for w, term in zip((0.5, 2.0), terms, strict=True))


METHOD = DualTeacher(alpha=0.5, beta=2.0)


def setting():
    task, batch = make_task(**teacher_of()), make_batch()
    return task, batch, TeCoA().attack(task, batch).x


def test_dual_loss_is_the_formula(monkeypatch):
    task, batch, adversarial = setting()
    fixed = Fixed(monkeypatch, adversarial)
    views = Taught(task, batch, adversarial)
    loss, logged = METHOD.loss(task, batch)
    truth = dual(views, views)
    assert loss.item() == pytest.approx(truth, rel=2e-5)
    assert abs(dual(views, views, swap=True) - truth) > 1e-3 * truth
    assert set(logged) == {"robust_accuracy", "clean_teacher", "robust_teacher"}
    assert not any(value.requires_grad for value in logged.values())
    with torch.no_grad():
        climbed = fixed.objective(task.features(adversarial)).tolist()
    wanted = [-math.log(probabilities(f, views.head)[y]) for f, y in zip(views.adv, views.labels, strict=True)]
    assert climbed == pytest.approx(wanted, rel=1e-4)


def test_each_teacher_sees_its_own_view(monkeypatch):
    """Teachers that trade their views give another loss: the test above could tell."""
    task, batch, adversarial = setting()
    views = Taught(task, batch, adversarial)
    crossed = copy.copy(views)
    crossed.clean0, crossed.robust = views.adv0, Taught(task, batch, batch.images).robust
    assert abs(dual(crossed, crossed) - dual(views, views)) > 1e-3


def test_dual_gradient_flows_where_the_formula_lets_it(monkeypatch):
    task, batch, adversarial = setting()
    gradient_check(METHOD, task, batch, adversarial, dual, monkeypatch, views=Taught)


def test_a_wrong_detachment_would_be_seen(monkeypatch):
    task, batch, adversarial = setting()
    with pytest.raises(AssertionError):
        gradient_check(METHOD, task, batch, adversarial, partial(dual, hold=True), monkeypatch, views=Taught)


def test_without_its_terms_it_is_tecoa_bit_for_bit(tmp_path):
    ends = [
        fit(tmp_path, m, make_task(norm_tower, moved=False, **teacher_of(norm_tower)), epochs=2).visual
        for m in (DualTeacher(alpha=0, beta=0), TeCoA())
    ]
    assert equal(*ends)
    assert not equal(ends[0], make_task(norm_tower, moved=False).visual)


def test_both_teachers_are_bit_identical_after_training(tmp_path):
    """BatchNorm's statistics included, though the loop puts the student into train mode."""
    keys = teacher_of(norm_tower)
    task = make_task(norm_tower, moved=False, **keys)
    start, robust = copy.deepcopy(task.visual), copy.deepcopy(task.teacher)
    fit(tmp_path, DualTeacher(), task)
    assert equal(task.teacher, robust) and equal(task.frozen, start)
    assert not task.teacher.training and not any(p.requires_grad for p in task.teacher.parameters())
    before = dict(start.named_parameters())
    assert all(not torch.equal(value, before[name]) for name, value in task.visual.named_parameters())


def test_the_inner_attack_leaves_no_gradient_and_one_forward_moves_the_statistics(monkeypatch):
    task, batch = make_task(norm_tower, **teacher_of(norm_tower)), make_batch()
    task.visual.train()
    made = TeCoA().attack(task, batch).x
    twin = copy.deepcopy(task)
    DualTeacher().loss(task, batch)[0].backward()
    Fixed(monkeypatch, made)
    DualTeacher().loss(twin, batch)[0].backward()
    for ours, theirs in zip(task.visual.parameters(), twin.visual.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    limit = make_task(norm_tower, **teacher_of(norm_tower))
    limit.visual.train()
    TeCoA().loss(limit, batch)
    assert torch.equal(task.visual[1].running_mean, limit.visual[1].running_mean)


def test_without_a_teacher_nothing_is_computed(tmp_path):
    with pytest.raises(ZsrError, match="dual-teacher: learns from a second model"):
        fit(tmp_path, DualTeacher(), make_task())


# -- linear probe ----------------------------------------------------------------------------------------------------


def probe_task():
    return make_task(norm_tower, moved=False)


def test_probe_loss_is_the_formula():
    task = dressed(LinearProbe(classes=C), probe_task())
    source, places = make_source(), torch.tensor([3, 0, 17, 3, 9])
    torch.manual_seed(2)
    layer = task.visual.read_out
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    labels = torch.from_numpy(source.labels)[places]
    loss, _ = LinearProbe(classes=C).loss(task, make_batch()._replace(keys=places, labels=labels))
    images = torch.from_numpy(source.images).double() / 255
    with torch.no_grad():
        features = copy.deepcopy(task.frozen).double()(task.normalise(images).double()).tolist()
    r = math.sqrt(mean(v * v for f in features for v in f))
    total = 0.0
    for place, y in zip(places.tolist(), labels.tolist(), strict=True):
        z = [
            sum(w * v / r for w, v in zip(row, features[place], strict=True)) + b
            for row, b in zip(layer.weight.double().tolist(), layer.bias.double().tolist(), strict=True)
        ]
        total += math.log(sum(math.exp(v) for v in z)) - z[y]
    assert loss.item() == pytest.approx(total / B, rel=1e-4)


def test_only_the_read_out_trains_and_what_is_evaluated_is_what_was_trained(tmp_path):
    task = probe_task()
    start = copy.deepcopy(task.visual)
    fit(tmp_path, LinearProbe(classes=C), task, epochs=60, lr=0.5, optimizer="adamw", weight_decay=0.0)
    assert equal(task.tower, start)  # statistics included
    images = torch.from_numpy(make_source().images).float() / 255
    with torch.no_grad():
        seen = task.visual.train().forward(task.normalise(images))
        assert torch.equal(seen, task.visual.eval().forward(task.normalise(images)))
    kept = task.visual.read_out(task.extras["features"])
    torch.testing.assert_close(seen, kept, rtol=1e-4, atol=1e-4)
    assert (seen.argmax(1).numpy() == make_source().labels).mean() > 0.6  # six numbers for 24 images of 4 classes


def test_a_probe_reaches_the_optimum_of_logistic_regression(tmp_path):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    source = SourceSet(rng.integers(0, 256, (200, 3, 4, 4), dtype=np.uint8), rng.integers(0, C, 200))
    task = fit(tmp_path, LinearProbe(classes=C), probe_task(), source, epochs=400, batch=200, lr=0.1, optimizer="adamw")
    features = task.extras["features"]
    best = LogisticRegression(C=np.inf, tol=1e-8, max_iter=5000).fit(features.numpy(), source.labels)
    labels = torch.from_numpy(source.labels)
    optimum = F.cross_entropy(torch.from_numpy(best.decision_function(features.numpy())), labels)
    found = F.cross_entropy(task.visual.read_out(features), labels)
    assert found.item() == pytest.approx(optimum.item(), abs=2e-4)
    assert optimum.item() < math.log(C) - 0.02  # zero weights would not pass


def test_a_probe_needs_the_number_of_its_classes(tmp_path):
    with pytest.raises(ZsrError, match="classes is 0, the set that it trains on has 4"):
        fit(tmp_path, LinearProbe(), probe_task())

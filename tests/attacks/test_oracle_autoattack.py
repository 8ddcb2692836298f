"""Against the authors' code on a small scale; `benchmarks/oracle.py` is the same at full length, with three seeds."""

import sys

import pytest
import torch
from support.attack_models import images, radius, trained

from zsr.attacks import attack

pyautoattack = pytest.importorskip("pyautoattack", reason="the authors' AutoAttack is not installed")
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
N = 64


def theirs(model, x, y, norm, eps, name, steps, targets, queries):
    a = pyautoattack.AutoAttack(model, norm=NORMS[norm], eps=eps, seed=0, version="standard")
    a.verbose, a.attacks_to_run = False, [name]
    a.apgd.n_iter = a.apgd.n_iter_orig = a.apgd_targeted.n_iter = a.apgd_targeted.n_iter_orig = a.fab.n_iter = steps
    for part in (a.apgd, a.apgd_targeted):  # computed from n_iter when it was built
        part.n_iter_2, part.n_iter_min = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
        part.size_decr = max(int(0.03 * steps), 1)
    a.apgd_targeted.n_target_classes = a.fab.n_target_classes = targets
    a.square.n_queries = queries
    with torch.random.fork_rng():
        x_adv, _ = a.run_standard_evaluation(x, y, batch_size=64)
    with torch.no_grad():
        return int((model(x_adv).argmax(1) == y).sum())


CASES = [
    ("cnn", True, "linf", "apgd-ce"), ("cnn", True, "linf", "apgd-dlr"), ("cnn", True, "linf", "apgd-t"),
    ("cnn", True, "linf", "fab-t"), ("cnn", True, "linf", "square"), ("cnn", True, "l2", "apgd-ce"),
    ("cnn", True, "l2", "fab-t"), ("cnn", True, "l2", "square"), ("linear", False, "linf", "fab-t"),
    ("linear", False, "l1", "apgd-ce"), ("linear", False, "l1", "square"), ("vit", False, "l2", "apgd-t"),
    ("vit", False, "linf", "apgd-ce"), ("clip", False, "linf", "apgd-ce"), ("clip", False, "linf", "apgd-t"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind, robust, norm, name", CASES, ids=lambda v: str(v))
def test_no_more_images_are_robust_than_against_the_authors(kind, robust, norm, name):
    """One seed and few images: an image of tolerance, as for the mean over seeds, and one for chance."""
    model, eps = trained(kind, robust), radius(kind, norm, robust)
    frozen = [p.requires_grad for p in model.parameters()]
    x, y = images(N, 21)
    budget = {"steps": 40, "targets": 3, "queries": 250}
    known = {"apgd-ce": ["steps"], "apgd-dlr": ["steps"], "square": ["queries"]}.get(name, ["steps", "targets"])
    extra = {"restarts": 5} if norm == "l1" and name == "apgd-ce" else {}  # as their standard version does
    ours = attack(model, x, y, name, norm=norm, eps=eps, **{k: budget[k] for k in known}, **extra)
    reference = theirs(model, x, y, norm, eps, name, **budget)
    assert int(ours.robust.sum()) <= reference + 2
    assert int(ours.robust.sum()) >= reference - 12  # far below would mean a verdict that does not hold
    assert frozen == [p.requires_grad for p in model.parameters()]


@pytest.mark.slow
def test_standard_fools_what_the_authors_standard_fools():
    model, eps = trained("cnn", True), radius("cnn", "linf", True)
    x, y = images(32, 22)
    ours = attack(model, x, y, "autoattack", eps=eps, steps=30, targets=3, queries=100)
    reference = attack(model, x, y, "autoattack-reference", eps=eps, only="apgd-ce,apgd-t")
    assert int(ours.robust.sum()) <= int(reference.robust.sum()) + 1


@pytest.mark.slow
def test_the_authors_code_inside_the_pipeline():
    model, eps = trained("cnn", True), radius("cnn", "linf", True)
    x, y = images(24, 23)
    before, trace = torch.random.get_rng_state(), sys.gettrace()
    v = attack(model, x, y, "autoattack-reference", eps=eps, only="apgd-ce, apgd-dlr", seed=3)
    again = attack(model, x, y, "autoattack-reference", eps=eps, only="apgd-ce, apgd-dlr", seed=3)
    assert torch.equal(torch.random.get_rng_state(), before) and sys.gettrace() is trace
    assert torch.equal(v.robust, again.robust) and any("pyautoattack, version standard" in n for n in v.notes)
    with torch.no_grad():
        assert torch.equal(model(v.x_adv).argmax(1), v.prediction)
    ours = attack(model, x, y, "autoattack-papers", eps=eps)
    assert abs(int(ours.robust.sum()) - int(v.robust.sum())) <= 1
    assert ours.passes.forward + ours.passes.backward < v.passes.forward + v.passes.backward


def test_a_models_own_error_comes_out_of_the_authors_code():
    model, (x, _) = trained("cnn"), images(4, 5)

    def breaks(v):
        if v.requires_grad:
            raise TypeError("the model's own mistake")
        return model(v)

    with pytest.raises(TypeError, match="the model's own mistake"):
        attack(breaks, x, model(x).argmax(1), "autoattack-reference", eps=0.02, only="apgd-ce")


@pytest.mark.parametrize("classes", [2, 3])
def test_the_authors_code_with_few_classes(classes):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, classes))
    x = torch.rand(8, 3, 4, 4)
    v = attack(model, x, model(x).argmax(1), "autoattack-reference", eps=0.02, only="apgd-ce,apgd-t,fab-t")
    assert any("left out" in note for note in v.notes)


def test_the_authors_losses_are_not_run_in_float16():
    """There the gradient of a confident image is 0, and it would count as robust because nothing has attacked it."""
    model, (x, y) = trained("cnn"), images(12, 5)
    half, full = (
        attack(model, x, y, "autoattack-reference", eps=0.02, only="apgd-ce", precision=p) for p in ("fp16", "fp32")
    )
    assert torch.equal(half.robust, full.robust) and torch.equal(half.x_adv, full.x_adv)
    assert half.passes == full.passes
    assert any("passes in float32" in note for note in half.notes)

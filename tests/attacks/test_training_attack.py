"""The attack inside training, against PGD written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from support.attack_models import images, trained

from zsr.attacks import perturb
from zsr.attacks.core.objectives import feature_distance, kl
from zsr_kernels import Normalisation, reference

EPS = 8 / 255


def by_hand(model, x0, loss, eps, steps, alpha, start):
    """PGD on pixels, through the normalisation, as the papers' code does it."""
    x = start.clone()
    for _ in range(steps):
        x.requires_grad_()
        (g,) = torch.autograd.grad(loss(model(x)).sum(), x)
        x = x.detach() + alpha * g.sign()
        x = torch.clamp(torch.min(torch.max(x, x0 - eps), x0 + eps), 0, 1)
    return x.detach()


def ce(y):
    return lambda z: F.cross_entropy(z, y, reduction="none")


@pytest.mark.parametrize("name", ["cnn", "vit", "clip"])
def test_it_is_pgd(name):
    model = trained(name)
    x, y = images(16, 1)
    keys = torch.arange(16)
    out = perturb(
        model.net, x, ce(y), eps=EPS, steps=3, step_size=EPS / 2, mean=model.mean, std=model.std, keys=keys, seed=4,
        counter=9,
    )  # fmt: skip
    start = reference.start(x, keys, 4, 9, EPS)[0]
    wanted = by_hand(model, x, ce(y), EPS, 3, EPS / 2, start)
    assert ((out.x - wanted).abs() > 1e-6).float().mean() < 1e-3  # a gradient of about 0 may change its sign
    torch.testing.assert_close(out.net_input, reference.normalize(out.x, Normalisation(model.mean, model.std)))
    assert F.cross_entropy(model(out.x), y) > F.cross_entropy(model(x), y)


def test_the_start_depends_on_the_image_and_the_visit_alone():
    model = trained("cnn")
    x, y = images(8, 2)
    keys = torch.tensor([5, 9, 1, 7, 3, 2, 8, 4])

    def run(rows, counter):
        return perturb(
            model.net, x[rows], ce(y[rows]), eps=EPS, steps=0, step_size=EPS, mean=model.mean, std=model.std,
            keys=keys[rows], counter=counter,
        ).x  # fmt: skip

    some = torch.tensor([6, 2])
    assert torch.equal(run(torch.arange(8), 0)[some], run(some, 0))
    assert not torch.equal(run(some, 0), run(some, 1))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_ball_and_box(norm):
    model = trained("cnn")
    x, y = images(8, 3)
    x = (x * 255).to(torch.uint8)
    eps = {"linf": EPS, "l2": 1.0, "l1": 10.0}[norm]
    out = perturb(
        model.net, x, ce(y), eps=eps, steps=3, step_size=eps / 2, norm=norm, mean=model.mean, std=model.std,
        keys=torch.arange(8),
    )  # fmt: skip
    delta = (out.x - x / 255).double().flatten(1)
    size = {"linf": delta.abs().amax(1), "l2": delta.norm(dim=1), "l1": delta.abs().sum(1)}[norm]
    assert (size <= eps * (1 + 1e-5)).all() and (size > 0.3 * eps).all() and out.x.min() >= 0 and out.x.max() <= 1


def test_objectives_of_the_methods():
    """Features away from the clean ones (FARE), predictions away from the clean ones (TRADES, FAP)."""
    model = trained("clip")
    visual, head = model.net.visual, model.net.head
    x, _ = images(8, 4)
    with torch.no_grad():
        clean = visual(reference.normalize(x, Normalisation(model.mean, model.std)))
        log_p = (F.normalize(clean, dim=1) @ head.T * 100).log_softmax(1)
    common = {"eps": EPS, "steps": 3, "step_size": EPS / 2, "mean": model.mean, "std": model.std}
    keys = torch.arange(8)

    def divergence(f):
        return kl(log_p, (F.normalize(f, dim=1) @ head.T * 100).log_softmax(1))

    for objective in (lambda f: feature_distance(f, clean), divergence):
        out = perturb(visual, x, objective, keys=keys, **common)
        with torch.no_grad():
            begun = perturb(visual, x, objective, keys=keys, **common | {"steps": 0})
            assert (objective(visual(out.net_input)) > objective(visual(begun.net_input))).all()


def test_a_neighbour_does_not_change_the_gradient():
    """The sum of the losses is taken: a mean would let an image's step depend on the batch's size."""
    model = trained("cnn")
    x, y = images(8, 5)
    common = {"eps": 1.0, "steps": 1, "step_size": 0.3, "norm": "l2", "mean": model.mean, "std": model.std}
    whole = perturb(model.net, x, ce(y), keys=torch.arange(8), **common).x
    alone = perturb(model.net, x[:1], ce(y[:1]), keys=torch.arange(1), **common).x
    torch.testing.assert_close(whole[:1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("random_start", [True, False])
def test_without_a_normalisation_the_images_stay_what_they_are(random_start):
    """Pixels and network input are then one tensor; neither the images nor the result may join a graph."""
    model = trained("cnn")
    x, y = images(8, 7)
    before = x.clone()
    out = perturb(
        model, x, ce(y), eps=EPS, steps=3, step_size=EPS / 2, keys=torch.arange(8), random_start=random_start
    )  # fmt: skip
    assert torch.equal(x, before) and not x.requires_grad and not out.x.requires_grad
    start = reference.start(x, torch.arange(8), 0, 0, EPS)[0] if random_start else x
    assert ((out.x - by_hand(model, x, ce(y), EPS, 3, EPS / 2, start)).abs() > 1e-6).float().mean() < 1e-3


def test_it_works_under_no_grad_and_in_half_precision():
    model = trained("cnn")
    x, y = images(8, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = perturb(
            model.net, x, ce(y), eps=EPS, steps=2, step_size=EPS, mean=model.mean, std=model.std,
            keys=torch.arange(8), dtype=torch.bfloat16,
        )  # fmt: skip
    assert out.x.dtype == torch.float32 and out.net_input.dtype == torch.bfloat16
    assert ((out.x - x).abs() <= EPS + 1e-6).all()

"""PGD and CW against torchattacks and foolbox: the same start and the same steps must end at the same image.

Without a random start both sides are deterministic, so the images are compared, not only counts. The sign of a
gradient that is zero up to rounding may differ between two orders of summation, and a network with kinks (ReLU, max
pooling: `cnn`) carries a last bit of such a difference far within ten steps, where steps are not signs alone.
"""

import statistics

import eagerpy as ep
import foolbox
import pytest
import torch
import torchattacks
from support.attack_models import images, radius, trained

from zsr.attacks import attack

CUT = {
    "linf": foolbox.attacks.LinfProjectedGradientDescentAttack,
    "l2": foolbox.attacks.L2ProjectedGradientDescentAttack,
}
STEPS = 10


def margin_attack(norm, kappa, **settings):
    """foolbox's PGD on -max(z_y - max_{j != y} z_j + kappa, 0), written with its own array library."""

    class MarginPGD(CUT[norm]):
        def get_loss_fn(self, model, labels):
            rows = range(len(labels))

            def loss(inputs):
                logits = model(inputs)
                others = logits - 1e4 * ep.onehot_like(logits, labels)
                return -ep.maximum(logits[rows, labels] - others.max(axis=-1) + kappa, 0).sum()

            return loss

    return MarginPGD(**settings)


def same_images(ours, theirs):
    """The share of images that agree in every pixel up to rounding."""
    return float(((ours - theirs).abs().flatten(1).amax(1) < 1e-5).float().mean())


@pytest.mark.parametrize("kind, norm", [("cnn", "linf"), ("vit", "linf"), ("vit", "l2")])
@pytest.mark.parametrize("kappa", [None, 0.0, 50.0], ids=["pgd", "cw-0", "cw-50"])
def test_foolbox_ends_at_the_same_image(kind, norm, kappa):
    model, eps = trained(kind), radius(kind, norm)
    x, y = images(64, 32)
    how = {"abs_stepsize": eps / 4, "steps": STEPS, "random_start": False}
    theirs = CUT[norm](**how) if kappa is None else margin_attack(norm, kappa, **how)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    made = theirs.run(bounded, x, foolbox.criteria.Misclassification(y), epsilon=eps)
    name, settings = ("pgd", {}) if kappa is None else ("cw", {"kappa": kappa})
    v = attack(
        model, x, y, name, norm=norm, eps=eps, steps=STEPS, step_size="eps/4", random_start=False, verdict="last",
        **settings,
    )  # fmt: skip
    attacked = v.clean == y  # ours leaves alone what was wrong before
    assert attacked.sum() > 40
    assert same_images(v.x_adv[attacked], made[attacked]) >= 0.95
    with torch.no_grad():
        robust = (model(made).argmax(1) == y) & attacked
    assert (robust != v.robust).sum() <= 1


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_torchattacks_ends_at_the_same_image(kind):
    model, eps = trained(kind), radius(kind, "linf")
    x, y = images(64, 33)
    made = torchattacks.PGD(model, eps=eps, alpha=eps / 4, steps=STEPS, random_start=False)(x, y)
    v = attack(model, x, y, "pgd", eps=eps, steps=STEPS, step_size="eps/4", random_start=False, verdict="last")
    attacked = v.clean == y
    assert same_images(v.x_adv[attacked], made[attacked]) >= 0.95


def test_torchattacks_momentum():
    """MI-FGSM: the running mean of gradients that are divided by their mean magnitude; ours divides by their sum,
    which is the same direction."""
    model, eps = trained("vit"), radius("vit", "linf")
    x, y = images(64, 34)
    made = torchattacks.MIFGSM(model, eps=eps, alpha=eps / 4, steps=STEPS, decay=1.0)(x, y)
    v = attack(
        model, x, y, "pgd", eps=eps, steps=STEPS, step_size="eps/4", momentum=1.0, random_start=False, verdict="last"
    )
    attacked = v.clean == y
    assert same_images(v.x_adv[attacked], made[attacked]) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_random_starts_on_average(kind):
    """Mean over five random starts; a start moves a few images either way."""
    model, eps = trained(kind), radius(kind, "linf")
    x, y = images(128, 31)
    theirs, ours = [], []
    for seed in range(5):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = torchattacks.PGD(model, eps=eps, alpha=eps / 4, steps=STEPS, random_start=True)(x, y)
        with torch.no_grad():
            theirs.append(int((model(made).argmax(1) == y).sum()))
        v = attack(model, x, y, "pgd", eps=eps, steps=STEPS, step_size="eps/4", verdict="last", seed=seed)
        ours.append(int(v.robust.sum()))
    assert abs(statistics.mean(ours) - statistics.mean(theirs)) <= 2.5, (ours, theirs)

"""Each loss against its formula, written again in loops over Python floats; gradients by central differences.

A reference takes `views` (features that depend on the student) and `held` (the same numbers as constants): a term that
the method detaches is computed from `held`, so a forgotten or a superfluous detach shows in the gradient. `mirrors`
are the same losses with a divergence turned around: they must be far from the truth, or the test could not tell.
"""

import math
from functools import partial

import pytest
import torch
from support.method_setting import (
    SCALE,
    B,
    C,
    Fixed,
    Views,
    cosine,
    cross_entropy,
    distance,
    gradient_check,
    kl_of,
    make_batch,
    make_task,
    mean,
    probabilities,
)

from zsr.methods.agft import AGFT
from zsr.methods.caw import CAW
from zsr.methods.fare import FARE
from zsr.methods.ft_adv import FTAdv
from zsr.methods.ft_clean import FTClean
from zsr.methods.pmg_aft import PMGAFT
from zsr.methods.simclip import SimCLIP
from zsr.methods.tecoa import TeCoA
from zsr.methods.trades import TRADES
from zsr.methods.ucat import UCAT

torch.set_num_threads(1)


def trades(views, held, swap=False, hold=False):
    clean = held.clean if hold else views.clean
    pairs = [[probabilities(f, views.head) for f in pair] for pair in zip(clean, views.adv, strict=True)]
    return cross_entropy(views.clean, views) + 6 * mean(kl_of(*(pair[::-1] if swap else pair)) for pair in pairs)


def fare(views, held):
    return mean(distance(a, b) ** 2 for a, b in zip(views.adv, held.clean0, strict=True))


def pmg(scale, reduce, adversarial_first):
    def reference(views, held, swap=False, hold=False):
        total = cross_entropy(views.adv, views, scale)
        for other, weight in ((views.adv0, 0.5), (held.clean if hold else views.clean, 2.0)):
            terms = []
            for f, g in zip(views.adv, other, strict=True):
                p, q = (probabilities(v, views.head, scale) for v in (f, g))
                terms.append(kl_of(p, q) if adversarial_first != swap else kl_of(q, p))
            total += weight * reduce(terms)
        return total

    return reference


def agft(views, held, swap=False):
    total = 0
    for f, g in zip(views.adv, held.clean0, strict=True):
        p, q = probabilities(f, views.head, 1.8 * SCALE), probabilities(g, views.head, 0.4 * 1.8 * SCALE)
        total -= sum(math.log(b) * a for a, b in zip(*((p, q) if swap else (q, p)), strict=True))
    return total / B


def digamma(x):
    """By recurrence and asymptotic series; independent of torch."""
    shift = 0.0
    while x < 30:
        shift, x = shift - 1 / x, x + 1
    return shift + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)


def ucat(views, held, swap=False):
    tau, total = 0.5, 0.0
    factor = 30.0 / math.exp(math.log(1 + math.exp(2 / tau)))
    for f, g in zip(views.adv, held.clean0, strict=True):
        a, b = ([1e-6 + math.exp((cosine(v, t) + 1) / tau) for t in views.head] for v in (f, g))
        if swap:
            a, b = b, a
        value = math.lgamma(sum(a)) - math.lgamma(sum(b))
        for x, y in zip(a, b, strict=True):
            value += math.lgamma(y) - math.lgamma(x) + (x - y) * (digamma(x) - digamma(sum(a)))
        total += value
    return cross_entropy(views.adv, views) + factor * total / B


def caw(detach, unit):
    def reference(views, held, swap=False, hold=False):
        terms, drifts = [], []
        for i, y in enumerate(views.labels):
            p, q = probabilities(views.adv[i], views.head), probabilities(held.clean0[i], views.head)
            weight = 1 - (probabilities(held.adv[i], views.head) if detach != hold else p)[y]
            terms.append(weight * (kl_of(q, p) if swap else kl_of(p, q)))
            pair = [views.adv[i], held.adv0[i]]
            if unit:
                pair = [[x / distance(v, [0] * len(v)) for x in v] for v in pair]
            drifts.append(distance(*pair))
        return cross_entropy(views.adv, views) + 3 * mean(terms) + 0.5 * mean(drifts)

    return reference


def in_batch(side):
    """CLIP's symmetric loss: rows are images, columns the texts of the batch's labels."""

    def reference(views, held):
        features, total = getattr(views, side), 0.0
        z = [[SCALE * cosine(f, views.head[y]) for y in views.labels] for f in features]
        for i in range(B):
            row, column = z[i], [z[j][i] for j in range(B)]
            for values in (row, column):
                total -= math.log(math.exp(z[i][i]) / sum(math.exp(v) for v in values))
        return total / (2 * B)

    return reference


def simclip_paper(views, held, hold=False):
    ours, constant = (held, held) if hold else (views, held)
    return -mean(
        (cosine(a, b) + cosine(c, d)) / 2
        for a, b, c, d in zip(views.adv, constant.clean, ours.clean, constant.adv, strict=True)
    )


def simclip_code(views, held, hold=False):
    first = views if hold else held
    return -mean((cosine(a, z) + cosine(b, z)) / 2 for a, b, z in zip(views.adv, first.adv, held.clean0, strict=True))


CASES = {
    "trades": (TRADES(), trades),
    "fare": (FARE(), fare),
    "pmg-paper": (PMGAFT(alpha=0.5, beta=2.0), pmg(SCALE, mean, False)),
    "pmg-code": (PMGAFT(variant="code", alpha=0.5, beta=2.0), pmg(1.0, sum, True)),
    "agft": (AGFT(), agft),
    "ucat": (UCAT(weight=30.0, temperature=0.5), ucat),
    "caw": (CAW(alpha=3, beta=0.5), caw(False, False)),
    "caw-detached": (CAW(alpha=3, beta=0.5, detach_weight=True), caw(True, False)),
    "caw-unit": (CAW(alpha=3, beta=0.5, normalise_features=True), caw(False, True)),
    "ft-clean": (FTClean(), in_batch("clean")),
    "ft-adv": (FTAdv(), in_batch("adv")),
    "simclip-paper": (SimCLIP(), simclip_paper),
    "simclip-code": (SimCLIP(variant="code"), simclip_code),
}
case = pytest.mark.parametrize(("method", "reference"), CASES.values(), ids=CASES)


def setting():
    task, batch = make_task(), make_batch()
    return task, batch, TeCoA().attack(task, batch).x


@case
def test_loss_is_the_formula(method, reference, monkeypatch):
    task, batch, adversarial = setting()
    Fixed(monkeypatch, adversarial)
    views = Views(task, batch, adversarial)
    loss, logged = method.loss(task, batch)
    truth = reference(views, views)
    assert loss.item() == pytest.approx(truth, rel=2e-5)
    assert not any(value.requires_grad for value in logged.values())
    if "swap" in reference.__code__.co_varnames:
        assert abs(reference(views, views, swap=True) - truth) > 1e-3 * abs(truth)


@case
def test_gradient_flows_where_the_formula_lets_it(method, reference, monkeypatch):
    task, batch, adversarial = setting()
    gradient_check(method, task, batch, adversarial, reference, monkeypatch)


HELD = ["trades", "pmg-paper", "pmg-code", "caw", "caw-detached", "simclip-paper", "simclip-code"]


@pytest.mark.parametrize("name", HELD)
def test_a_wrong_detachment_would_be_seen(name, monkeypatch):
    """The same check against a formula that holds what moves, or moves what is held, must not pass."""
    method, reference = CASES[name]
    task, batch, adversarial = setting()
    with pytest.raises(AssertionError):
        gradient_check(method, task, batch, adversarial, partial(reference, hold=True), monkeypatch)


def climbed(name, views):
    """What the inner attack of a method climbs, per image, from the formulas."""
    for i, y in enumerate(views.labels):
        p = probabilities(views.adv[i], views.head, 1.0 if name == "pmg-code" else SCALE)
        if name == "trades":
            yield kl_of(probabilities(views.clean[i], views.head), p)
        elif name.startswith(("fare", "simclip")):
            yield distance(views.adv[i], views.clean0[i]) ** 2
        elif name == "agft":
            p, q = (probabilities(f, views.head, s * SCALE) for f, s in ((views.adv[i], 1.8), (views.clean0[i], 0.72)))
            yield -sum(b * math.log(a) for a, b in zip(p, q, strict=True))
        else:
            yield -math.log(p[y])


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"ft-clean"}))
def test_the_attack_climbs_what_the_method_says(name, monkeypatch):
    method = CASES[name][0]
    task, batch, adversarial = setting()
    attack = type(method).attack
    fixed = Fixed(monkeypatch, adversarial)
    method.loss(task, batch)
    with torch.no_grad():
        values = fixed.objective(task.features(adversarial))
    assert values.shape == (B,)
    assert values.tolist() == pytest.approx(list(climbed(name, Views(task, batch, adversarial))), rel=1e-4)
    monkeypatch.setattr(type(method), "attack", attack, raising=False)
    reached = []
    for steps in (0, 4):
        task.attack_steps = steps
        x = method.attack(task, batch, fixed.objective).x
        with torch.no_grad():
            reached.append(fixed.objective(task.features(x)).sum().item())
    assert reached[1] > reached[0]


def test_dirichlet_divergence_survives_the_evidence_of_clip():
    """α of 1e9: in float32 terms of 1e10 would cancel; torch.distributions is the independent reference."""
    from zsr.methods.ucat import dirichlet_kl

    generator = torch.Generator().manual_seed(0)
    a = (20 + torch.rand(3, C, generator=generator, dtype=torch.float64)).exp()
    b = (20 + torch.rand(3, C, generator=generator, dtype=torch.float64)).exp()
    found = dirichlet_kl(a, b)
    independent = torch.distributions.kl_divergence(*(torch.distributions.Dirichlet(v) for v in (a, b)))
    torch.testing.assert_close(found, independent, rtol=1e-6, atol=0)
    assert dirichlet_kl(a, a).abs().max() < 1e-5 * found.min()
    assert UCAT().factor == pytest.approx(3.9e-8, rel=0.01)

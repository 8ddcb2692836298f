"""Learned prompts: each loss and its gradient against plain loops, and what the attack climbs."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from support.method_setting import Fixed, cosine, kl_of, make_batch, mean, probabilities
from support.prompts import METHODS, SCALE, SIDE, dressed, each

from zsr.methods.apd import APD
from zsr.methods.core.task import Task
from zsr.methods.fap import FAP
from zsr.models.prompted_text_tower import Laid, TextTower


class Sides:
    """Features and texts of student and teacher in float64, as lists; recomputed from a copy that may be changed."""

    def __init__(self, task: Task, batch, adversarial) -> None:
        self.task, self.labels = task, batch.labels.tolist()
        self.visual = copy.deepcopy(task.visual).double()
        self.text = TextTower(copy.deepcopy(task.text.clip).double(), lambda prompts: task.text._tokens(prompts))
        self.inputs = [task.normalise(images).double() for images in (batch.images, adversarial)]
        self.laid = Laid(task.extras["words"].double(), task.extras["ends"])

    def look(self) -> "Sides":
        with torch.no_grad():
            self.clean, self.adv = (self.visual(x).tolist() for x in self.inputs)
            self.texts = self.text.encode(self.laid, self.visual.prompts.text_side()).tolist()
            if hasattr(self.visual, "teacher"):
                teacher = self.visual.teacher
                features = self.visual.see(self.inputs[0], teacher).tolist()
                texts = self.text.encode(self.laid, teacher.text_side()).tolist()
            else:
                features = self.visual.visual(self.inputs[0]).tolist()
                texts = self.task.head.double().tolist()
            self.taught = [probabilities(f, texts, SCALE) for f in features]
        self.p_clean, self.p_adv = ([probabilities(f, self.texts, SCALE) for f in x] for x in (self.clean, self.adv))
        return copy.copy(self)

    def surprise(self, p) -> float:
        return mean(-math.log(row[y]) for row, y in zip(p, self.labels, strict=True))


def tecoa(now: Sides, held: Sides) -> float:
    return now.surprise(now.p_adv)


def fap(now: Sides, held: Sides, weight: float = 1.5) -> float:
    rows = zip(now.clean, now.adv, now.p_clean, now.p_adv, strict=True)
    return now.surprise(now.p_clean) + weight * mean((cosine(f, g) + 1) * kl_of(p, q) for f, g, p, q in rows)


def apd(now: Sides, held: Sides, label: float = 1.0, feedback: float = 0.0, online: bool = True) -> float:
    """The teacher is constant in the first line, the student in the last."""
    value = mean(kl_of(t, s) for t, s in zip(held.taught, now.p_adv, strict=True)) + label * now.surprise(now.p_adv)
    if online:
        value += now.surprise(now.taught)
        value += feedback * mean(kl_of(s, t) for s, t in zip(held.p_adv, now.taught, strict=True))
    return value


REFERENCES = {
    "apt": tecoa,
    "advtp": tecoa,
    "advmaple": tecoa,
    "advvlp": tecoa,
    "fap": fap,
    "apd": apd,
    "apd-feedback": lambda now, held: apd(now, held, label=0.0, feedback=0.7),
    "apd-offline": lambda now, held: apd(now, held, online=False),
}


def worked(name, monkeypatch):
    method = METHODS[name]
    task, batch = dressed(method), make_batch(5, SIDE)
    adversarial = (
        batch.images + 0.2 * torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(2))
    ).clamp(0, 1)
    fixed = Fixed(monkeypatch, adversarial)
    return method, task, batch, Sides(task, batch, adversarial), fixed


@pytest.mark.parametrize("name", REFERENCES)
def test_the_loss_is_the_formula_and_so_is_its_gradient(name, monkeypatch):
    method, task, batch, sides, _ = worked(name, monkeypatch)
    held = sides.look()
    loss, _ = method.loss(task, batch)
    assert loss.item() == pytest.approx(REFERENCES[name](held, held), rel=1e-5)
    loss.backward()
    twins = dict(sides.visual.named_parameters())
    for parameter_name, parameter in task.visual.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None
            continue
        grad = parameter.grad.flatten()
        place, h, values = int(grad.abs().argmax()), 1e-6, []
        twin = twins[parameter_name].data.view(-1)
        before = twin[place].item()
        for sign in (1, -1):
            twin[place] = before + sign * h
            values.append(REFERENCES[name](sides.look(), held))
        twin[place] = before
        slope = (values[0] - values[1]) / (2 * h)
        assert slope == pytest.approx(grad[place].item(), rel=2e-3, abs=1e-5), parameter_name


def test_directions_and_detachments_of_apd_would_show(monkeypatch):
    method, task, batch, sides, _ = worked("apd-feedback", monkeypatch)
    held = sides.look()
    loss = method.loss(task, batch)[0].item()
    pairs = list(zip(held.taught, held.p_adv, strict=True))
    forward, reverse = mean(kl_of(t, s) for t, s in pairs), mean(kl_of(s, t) for t, s in pairs)
    swapped = loss + reverse - forward + 0.7 * (forward - reverse)
    assert abs(swapped - loss) > 1e-3 * abs(loss)
    # without feedback the teacher learns from the labels alone, whatever the student does
    grads = []
    for label in (0.0, 5.0):
        task.visual.zero_grad()
        APD(label=label).loss(task, batch)[0].backward()
        grads.append([p.grad.clone() for p in task.visual.teacher.parameters()])
    task.visual.zero_grad()
    F.cross_entropy(method.teacher_logits(task, batch), batch.labels).backward()
    for one, other, alone in zip(*grads, [p.grad for p in task.visual.teacher.parameters()], strict=True):
        torch.testing.assert_close(one, alone)
        torch.testing.assert_close(other, alone)


def climbed(name, sides, task, features):
    if name == "fap":
        return [kl_of(p, probabilities(f, sides.texts, SCALE)) for p, f in zip(sides.p_clean, features, strict=True)]
    texts = task.head.double().tolist() if name == "apt-constant" else sides.texts
    return [-math.log(probabilities(f, texts, SCALE)[y]) for f, y in zip(features, sides.labels, strict=True)]


@each
def test_what_the_attack_climbs_with_constant_texts(name, monkeypatch):
    method, task, batch, sides, fixed = worked(name, monkeypatch)
    held = sides.look()
    features = torch.randn(5, 8, generator=torch.Generator().manual_seed(4))
    method.loss(task, batch)
    for objective in (fixed.objective, method.objective(task, batch)):
        found = objective(features)
        assert not found.requires_grad
        assert found.tolist() == pytest.approx(climbed(name, held, task, features.double().tolist()), rel=1e-4)


def test_fap_without_its_weight_learns_clean_images_alone():
    task, batch = dressed(FAP(weight=0.0)), make_batch(5, SIDE)
    loss, logged = FAP(weight=0.0).loss(task, batch)
    texts = FAP().texts(task)
    expected = F.cross_entropy(SCALE * F.normalize(task.features(batch.images), dim=1) @ texts.T, batch.labels)
    assert torch.equal(loss, expected)
    assert logged.keys() == {"accuracy"}

"""What methods have in common: limits that meet to the bit, what stays frozen, no gradient from the inner attack."""

import copy

import pytest
import torch
from support.method_setting import C, D, Fixed, dressed, equal, fit, make_batch, make_task, norm_tower

from zsr import registry
from zsr.methods.caw import CAW
from zsr.methods.ce import CE
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.fare import FARE
from zsr.methods.pmg_aft import PMGAFT
from zsr.methods.tecoa import TeCoA
from zsr.methods.trades import TRADES
from zsr.methods.ucat import UCAT
from zsr.plan.fingerprint import fingerprint

torch.set_num_threads(1)

# what needs a VisionTransformer, wraps the tower or has a teacher: test_methods_{attention,prompts,learned,teachers}.py
ELSEWHERE = (
    "clip", "adversarial", "tga-zsr", "comp-tga", "vp-pixel", "vp-token", "advvp", "dual-teacher", "linear-probe",
    "published",
)  # fmt: skip
ANY_TOWER = [
    name
    for name in registry.names("methods")
    if name not in ELSEWHERE and not registry.describe("methods", name).constants["trains_text"]
]
LIMITS = {
    "pmg-aft": (PMGAFT(alpha=0, beta=0), TeCoA()),
    "caw": (CAW(alpha=0, beta=0), TeCoA()),
    "ucat": (UCAT(weight=0), TeCoA()),
    "trades": (TRADES(weight=0), CE()),
}


@pytest.mark.parametrize(("method", "limit"), LIMITS.values(), ids=LIMITS)
def test_without_its_terms_a_method_is_its_limit_bit_for_bit(method, limit, tmp_path):
    ends = [fit(tmp_path, m, make_task(norm_tower, moved=False), epochs=2).visual for m in (method, limit)]
    assert equal(*ends)
    assert not equal(ends[0], make_task(norm_tower, moved=False).visual)


def test_fare_without_perturbation_is_at_its_minimum():
    task, batch = make_task(moved=False, eps=0.0), make_batch()
    loss, _ = FARE().loss(task, batch)
    loss.backward()
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in task.visual.parameters())


def test_caw_starts_with_a_finite_gradient():
    """The norm of a zero difference: its subgradient is 0, not 0/0."""
    task, batch = make_task(moved=False, eps=0.0), make_batch()
    loss, logged = CAW().loss(task, batch)
    loss.backward()
    assert logged["drift"] == 0
    assert all(parameter.grad.isfinite().all() for parameter in task.visual.parameters())


@pytest.mark.parametrize("name", ANY_TOWER)
def test_the_student_moves_and_nothing_else(name, tmp_path):
    method = registry.load("methods", name)()
    task = make_task(norm_tower, moved=False)
    head, start = task.head.clone(), copy.deepcopy(task.visual)
    fit(tmp_path, method, task)
    trained = set(method.trainable(start))
    before = dict(start.named_parameters())
    for key, value in task.tower.named_parameters():
        assert torch.equal(value, before[key]) != (key in trained), key
    assert equal(task.frozen, start)
    assert torch.equal(task.head, head)
    assert not any(parameter.requires_grad for parameter in task.frozen.parameters())


@pytest.mark.parametrize("name", [n for n in ANY_TOWER if issubclass(registry.load("methods", n), AdversarialMethod)])
def test_the_inner_attack_leaves_no_gradient(name, monkeypatch):
    """The update equals one computed from adversarial images that were made beforehand."""
    method = registry.load("methods", name)()
    task, batch = dressed(method, make_task(norm_tower)), make_batch()
    task.visual.train()
    made, attack = [], AdversarialMethod.attack

    def recorded(self, task, batch, objective=None):
        made.append(attack(self, task, batch, objective))
        assert all(parameter.grad is None for parameter in task.visual.parameters())
        assert task.visual.training
        return made[-1]

    monkeypatch.setattr(AdversarialMethod, "attack", recorded)
    twin = copy.deepcopy(task)
    method.loss(task, batch)[0].backward()
    assert len(made) == 1
    Fixed(monkeypatch, made[0].x)
    method.loss(twin, batch)[0].backward()
    for ours, theirs in zip(task.visual.parameters(), twin.visual.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_the_inner_attack_follows_a_scaled_loss():
    """Float16 needs the scale; a power of two changes no bit in float32."""
    ends = []
    for scale in (1.0, 1024.0):
        task, seen = make_task(), []
        task.attack_scale = scale
        task.visual.register_full_backward_hook(lambda m, i, o, seen=seen: seen.append(o[0].abs().max()))
        ends.append((TeCoA().attack(task, make_batch()).x, seen[0]))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[1][1] == 1024 * ends[0][1]


@pytest.mark.parametrize("method", [PMGAFT(), CAW(), UCAT(), TRADES()], ids=lambda m: type(m).__name__)
def test_one_forward_a_step_moves_the_statistics(method):
    """The one of the limit: further terms see the batch, but leave BatchNorm's running values."""
    limit = CE() if isinstance(method, TRADES) else TeCoA()
    states = []
    for m in (method, limit):
        task, batch = make_task(norm_tower), make_batch()
        task.visual.train()
        m.loss(task, batch)
        states.append(task.visual[1].state_dict())
        assert task.visual[1].track_running_stats
        assert task.visual[1].num_batches_tracked == 1
    assert torch.equal(states[0]["running_mean"], states[1]["running_mean"])
    assert not torch.equal(states[0]["running_mean"], torch.zeros(8))


def test_aside_normalises_by_the_batch_and_restores_itself():
    task, batch = make_task(norm_tower), make_batch()
    task.visual.train()
    twin = copy.deepcopy(task.visual)
    with task.frozen_bn_stats():
        found = task.features(batch.images)
    assert torch.equal(found, twin(task.normalise(batch.images)))
    assert not torch.equal(twin[1].running_mean, task.visual[1].running_mean)
    with pytest.raises(ValueError, match="broken"), task.frozen_bn_stats():
        raise ValueError("broken")
    assert task.visual[1].track_running_stats
    task.visual.eval()
    with task.frozen_bn_stats():
        assert torch.equal(task.features(batch.images), task.visual(task.normalise(batch.images)))


def test_trades_shares_its_clean_forward_where_modes_agree():
    counted = {}
    for name, task in (("plain", make_task()), ("norm", make_task(norm_tower))):
        calls = []
        task.visual.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        task.visual.train()
        TRADES().loss(task, make_batch())
        counted[name] = len(calls)
    assert counted == {"plain": 2 + 2, "norm": 3 + 2}  # clean, adversarial, two steps; BatchNorm: clean once more


def test_components_say_what_they_need():
    needs = {name: registry.describe("methods", name).constants for name in registry.names("methods")}
    unlabelled = {name for name, found in needs.items() if not found["needs_labels"]}
    assert unlabelled >= {"agft", "fare"}
    for name in unlabelled & set(ANY_TOWER):  # labels that fit no class: whoever looks at them fails
        task, batch = make_task(norm_tower), make_batch()
        registry.load("methods", name)().loss(task, batch._replace(labels=torch.full((5,), 10**9)))
    assert D != C  # a transposed head would not go unseen


def test_the_table_of_methods_is_whole():
    """Every method has a row, and every setting it has is named there."""
    text = (registry.ROOT / "docs/methods.md").read_text(encoding="utf-8")
    rows = {row.split("`")[1]: row for row in text.splitlines() if row.startswith("| `") and row.count("|") == 8}
    found = set(registry.names("methods")) - {"adversarial"}  # the base of the others
    assert rows.keys() == found
    for name in found:
        for setting in registry.describe("methods", name).settings:
            assert f"`{setting}`" in rows[name], (name, setting)


@pytest.mark.parametrize("name", registry.names("methods"))
def test_a_method_does_not_depend_on_the_loop(name):
    """Evaluations depend on their model's method: a change of the training loop must not rerun them."""
    path = registry.component_path("methods", name).relative_to(registry.ROOT)
    assert "zsr/training/fine_tune.py" not in fingerprint([str(path)]).files

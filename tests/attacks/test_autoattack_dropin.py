"""`AutoAttack`, for users of the authors' package: same calls, same answers."""

import pytest
import torch
from support.attack_models import images, radius, trained

from zsr.attacks import AutoAttack
from zsr.attacks.autoattack_plus import AutoAttackPlus
from zsr.errors import ZsrError


def adversary(**options) -> AutoAttack:
    return AutoAttack(trained("cnn"), eps=radius("cnn", "linf"), verbose=False, **options)


def test_standard_evaluation(capsys):
    x, y = images(20, 1)
    model = trained("cnn")
    a = AutoAttack(model, norm="Linf", eps=radius("cnn", "linf"), version="custom", attacks_to_run=["apgd-ce", "fab-t"])
    a.apgd.n_iter, a.fab.n_iter, a.fab.n_target_classes = 10, 5, 2
    x_adv, predicted = a.run_standard_evaluation(x, y, bs=8, return_labels=True)
    assert torch.equal(predicted, model(x_adv).argmax(1)) and torch.equal(predicted == y, a.verdicts.robust)
    robust = a.verdicts.robust
    assert torch.equal(x_adv[robust], x[robust])
    assert f"robust accuracy after FAB-T: {int(robust.sum()) / 20:.2%}" in capsys.readouterr().out
    again = a.run_standard_evaluation(x, y, batch_size=8)
    assert torch.equal(again, x_adv)
    assert a.clean_accuracy(x, y) == float((a.verdicts.clean == y).float().mean())


def test_labels_may_be_a_list(capsys):
    x, y = images(8, 1)
    adversary = AutoAttack(trained("linear"), norm="Linf", eps=0.02, version="custom", attacks_to_run=["apgd-ce"])
    adversary.apgd.n_iter = 2
    one, other = (adversary.run_standard_evaluation(x, labels) for labels in (y, y.tolist()))
    assert torch.equal(one, other)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == said[2:]


def test_bytes_come_back_as_255ths():
    """Standing images too: mixed with bytes they would be 255 times too bright."""
    x, y = images(20, 5)
    a = adversary(version="custom", attacks_to_run=["apgd-ce"])
    a.apgd.n_iter = 5
    whole = (x * 255).round().to(torch.uint8)
    x_adv = a.run_standard_evaluation(whole, y)
    assert a.verdicts.robust.any() and not a.verdicts.robust.all()
    assert x_adv.dtype == torch.float32 and (x_adv - x).abs().max() <= a.epsilon + 1e-6
    assert a.clean_accuracy(whole, y) == a.clean_accuracy(x, y) == float((a.verdicts.clean == y).float().mean())
    assert a.clean_accuracy(x[:0], y[:0]) == 0


def test_individual_evaluation():
    x, y = images(12, 2)
    a = adversary(version="custom", attacks_to_run=["apgd-ce", "apgd-dlr", "square"], seed=1)
    a.apgd.n_iter, a.square.n_queries = 8, 10
    examples = a.run_standard_evaluation_individual(x, y, batch_size=12)
    assert list(examples) == ["apgd-ce", "apgd-dlr", "square"]
    assert all((v - x).abs().max() <= radius("cnn", "linf") + 1e-6 for v in examples.values())


def test_what_is_tuned_is_what_runs():
    """Each attack has its own number of draws, as in the authors' package; a setting nobody reads is refused."""
    a = adversary(version="custom", attacks=["apgd-ce", "apgd-t", "fab-t"])
    a.apgd_targeted.eot_iter, a.apgd_targeted.thr_decr, a.fab.alpha_max = 3, 0.5, 0.2
    parts = dict(a._parts(a.attacks_to_run))
    assert (parts["apgd-ce"].eot, parts["apgd-t"].eot, parts["apgd-t"].rho) == (1, 3, 0.5)
    assert parts["fab-t"].alpha_max == 0.2 and parts["fab-t"].targets == 9
    with pytest.raises(ZsrError, match="unknown setting 'n_querys'; did you mean 'n_queries'"):
        a.square.n_querys = 10


def test_the_defaults_are_those_of_the_attacks():
    a = adversary(version="plus")
    assert dict(a._parts(a.attacks_to_run)) == AutoAttackPlus().parts("linf")


@pytest.mark.parametrize(
    "version, names",
    [
        ("standard", ["apgd-ce", "apgd-t", "fab-t", "square"]),
        ("rand", ["apgd-ce", "apgd-dlr"]),
        ("plus", ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]),
    ],
)
def test_versions_are_the_authors(version, names):
    reference = pytest.importorskip("pyautoattack", reason="the authors' package is not installed")
    ours = adversary(version=version)
    theirs = reference.AutoAttack(torch.nn.Identity(), eps=0.1, version=version)
    assert ours.attacks_to_run == names == theirs.attacks_to_run
    assert ours.apgd.n_restarts == theirs.apgd.n_restarts and ours.apgd.eot_iter == theirs.apgd.eot_iter
    assert ours.apgd_targeted.n_target_classes == theirs.apgd_targeted.n_target_classes
    if version != "rand":
        assert ours.fab.n_restarts == theirs.fab.n_restarts and ours.square.n_queries == theirs.square.n_queries


def test_the_clock_seeds_nothing():
    x, y = images(8, 3)
    one, two = (adversary(version="custom", attacks_to_run=["apgd-ce"]) for _ in range(2))
    one.apgd.n_iter = two.apgd.n_iter = 5
    assert torch.equal(one.run_standard_evaluation(x, y), two.run_standard_evaluation(x, y))


@pytest.mark.parametrize(
    "options, text",
    [
        ({"norm": "linf"}, "unknown norm 'linf'; did you mean 'Linf'"),
        ({"version": "standart"}, "did you mean 'standard'"),
        ({"is_tf_model": True}, "TensorFlow"),
        ({"attacks_to_run": ["apgd-ce"]}, "goes with version='custom'"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ZsrError, match=text):
        adversary(**options)


def test_an_unknown_part_and_a_state_file():
    x, y = images(4, 4)
    a = adversary(version="custom", attacks_to_run=["apgd"])
    with pytest.raises(ZsrError, match="unknown attack 'apgd'"):
        a.run_standard_evaluation(x, y)
    with pytest.raises(ZsrError, match="state_path is not supported"):
        a.run_standard_evaluation(x, y, state_path="state")

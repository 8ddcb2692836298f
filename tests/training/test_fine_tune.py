"""The training loop: resumable to the bit, honest about what trains, and never spoiled by the inner attack."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zsr.errors import ZsrError
from zsr.methods.ce import CE
from zsr.methods.core.task import Batch, Task
from zsr.methods.tecoa import TeCoA
from zsr.models.precision import FINE
from zsr.training import fine_tune
from zsr.training.checkpoint import Checkpoint
from zsr.training.fine_tune import SourceSet
from zsr.training.log import TrainLog
from zsr.training.recipe import Recipe

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
CPU = {"device": "cpu"}


def tower(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 6)
    )


def task(eps: float = 8 / 255, seed: int = 0) -> Task:
    torch.manual_seed(1)
    head = F.normalize(torch.randn(4, 6), dim=1)
    return Task(tower(), MEAN, STD, head, scale=10.0, eps=eps, attack_steps=2, attack_alpha=1.0, seed=seed)


@pytest.fixture
def source() -> SourceSet:
    rng = np.random.default_rng(0)
    return SourceSet(rng.integers(0, 256, (50, 3, 8, 8), dtype=np.uint8), rng.integers(0, 4, 50))


def recipe(**keys) -> Recipe:
    return Recipe(**{"epochs": 4, "batch": 8, "lr": 0.05, "warmup": 3, **keys})


def fit(tmp_path, source, method=None, stop_after=None, seed=0, **keys):
    """Train; with `stop_after`, be stopped by the signal that a scheduler sends."""
    made = task(seed=seed)
    checkpoint = Checkpoint(tmp_path / "last.ckpt", "spec")
    with TrainLog(tmp_path / "log.jsonl", tmp_path / "board", "spec") as log:

        def count(row):
            log(row)
            checkpoint.asked_to_stop = row["step"] + 1 == stop_after

        cost = fine_tune.fine_tune(
            method or TeCoA(), made, source, recipe(**keys), checkpoint=checkpoint, log=count, **CPU
        )
    checkpoint.done()
    return made, cost


@pytest.mark.parametrize("keys", [{}, {"optimizer": "adamw", "lr": 1e-3, "clip": 1.0}], ids=["sgd", "adamw"])
def test_an_interrupted_training_ends_bit_identical(tmp_path, source, keys):
    whole, cost = fit(tmp_path / "a", source, **keys)
    assert cost["steps"] == 25
    for stop in (1, 7, 19, 25):  # the last: all is done but to say so
        with pytest.raises(ZsrError, match="stopped by a signal"):
            fit(tmp_path / "b", source, stop_after=stop, **keys)
        assert (tmp_path / "b/last.ckpt").exists()
    resumed, last = fit(tmp_path / "b", source, **keys)
    assert last["final_loss"] == cost["final_loss"]
    assert not (tmp_path / "b/last.ckpt").exists()
    for name, value in whole.visual.state_dict().items():
        assert torch.equal(value, resumed.visual.state_dict()[name]), name
    logs = [
        [json.loads(line) for line in (tmp_path / x / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        for x in "ab"
    ]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]] == list(range(25))


def test_a_checkpoint_of_another_spec_or_a_damaged_one(tmp_path, source, capsys):
    with pytest.raises(ZsrError):
        fit(tmp_path, source, stop_after=3)
    assert Checkpoint(tmp_path / "last.ckpt", "other").load() is None
    assert "another spec" in capsys.readouterr().err
    (tmp_path / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(ZsrError, match="damaged checkpoint"):
        Checkpoint(tmp_path / "last.ckpt", "spec").load()


@pytest.mark.parametrize("content", [[], {}, {"spec_hash": "spec"}, {"spec_hash": "spec", "state": 3}, torch.ones(2)])
def test_a_file_of_torch_that_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(ZsrError, match=r"last\.ckpt: not a checkpoint of a training; delete it"):
        Checkpoint(tmp_path / "last.ckpt", "spec").load()


@pytest.mark.parametrize("line", [b"\0\0\0", b"\xff", b"[1]", b'{"loss": 1}', b'{"step": null}', b"7"])
def test_a_damaged_line_of_an_unfinished_log_is_named(tmp_path, line):
    part = tmp_path / ".log.jsonl.spec.part"
    part.write_bytes(b'{"step": 0}\n' + line + b"\n")
    with (
        pytest.raises(ZsrError, match=r"\.log\.jsonl\.spec\.part: a line of this unfinished log is damaged; delete it"),
        TrainLog(tmp_path / "log.jsonl", tmp_path / "board", "spec") as log,
    ):
        log({"step": 2})


def test_equal_seeds_give_equal_weights_and_others_do_not(tmp_path, source):
    one, two, other = (fit(tmp_path / str(i), source, seed=seed)[0] for i, seed in enumerate((0, 0, 1)))
    assert torch.equal(one.visual[0].weight, two.visual[0].weight)
    assert not torch.equal(one.visual[0].weight, other.visual[0].weight)


def test_attack_gradients_do_not_leak_into_the_update(source):
    """One step of the loop's arithmetic equals a plain step on adversarial images that were made beforehand."""
    made = task()
    batch = Batch(
        torch.from_numpy(source.images[:8]).float() / 255, torch.from_numpy(source.labels[:8]), torch.arange(8), 0
    )
    twin = copy.deepcopy(made.visual)
    made.visual.train()
    adversarial = TeCoA().attack(made, batch)
    assert all(parameter.grad is None for parameter in made.visual.parameters())
    assert made.visual.training
    assert torch.equal(made.visual[1].running_mean, twin[1].running_mean)
    loss, _ = TeCoA().loss(made, batch)
    loss.backward()
    twin.train()
    logits = (
        10.0
        * F.normalize(twin((adversarial.x - made.mean_tensor.view(1, 3, 1, 1)) / made.std_tensor.view(1, 3, 1, 1)))
        @ made.head.T
    )
    F.cross_entropy(logits, batch.labels).backward()
    for ours, theirs in zip(made.visual.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_the_attack_stays_in_its_ball_and_hurts(source):
    made = task(eps=16 / 255)
    images = torch.from_numpy(source.images).float() / 255
    batch = Batch(images, torch.from_numpy(source.labels), torch.arange(50), 0)
    adversarial = TeCoA().attack(made, batch).x
    assert (adversarial - images).abs().max() <= 16 / 255 + 1e-6
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    made.visual.eval()
    loss = [F.cross_entropy(made.logits(made.features(x)), batch.labels).item() for x in (images, adversarial)]
    assert loss[1] > loss[0]


class Head(CE):
    """Trains the last layer only."""

    def trainable(self, visual):
        return ["4.weight", "4.bias"]


def test_what_is_frozen_stays_and_what_trains_moves(tmp_path, source):
    made, _ = fit(tmp_path, source, Head())
    moved = set(fine_tune.trained_tensors(made.visual, made.original))
    statistics = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert moved == {"4.weight", "4.bias"} | statistics
    made, _ = fit(tmp_path / "eval", source, Head(), batchnorm="eval")
    assert set(fine_tune.trained_tensors(made.visual, made.original)) == {"4.weight", "4.bias"}
    assert torch.equal(made.frozen[0].weight, made.original["0.weight"])


def test_training_learns(tmp_path, source):
    fit(tmp_path, source, CE(), epochs=30)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [row["loss"] for row in rows]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    rates = [row["lr"] for row in rows]
    assert rates[:3] == pytest.approx([0.05 / 3, 0.1 / 3, 0.05])
    assert rates[-1] < 1e-3


def test_nan_stops_before_the_weights_with_step_and_images(tmp_path, source):
    class Broken(CE):
        def loss(self, task, batch):
            loss, extra = super().loss(task, batch)
            return loss * (float("nan") if batch.step == 5 else 1), extra

    with pytest.raises(ZsrError, match=r"loss is nan at step 5, images \[\d+"):
        fit(tmp_path, source, Broken())


class NanBackward(torch.autograd.Function):
    """Finite on the way forward, NaN on the way back."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, grad):
        return grad * torch.nan


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_nan_leaves_the_last_good_checkpoint(tmp_path, source, monkeypatch, what):
    class Broken(CE):
        def loss(self, task, batch):
            loss, extra = super().loss(task, batch)
            if batch.step == 5:
                loss = loss * torch.nan if what == "loss" else NanBackward.apply(loss)
            return loss, extra

    monkeypatch.setattr(Checkpoint.__init__, "__defaults__", (0.0,))  # save after every step
    chosen = fine_tune.chosen_images(50, 8, 5, seed=0)
    with pytest.raises(ZsrError, match=f"the {what} is nan at step 5, images ") as caught:
        fit(tmp_path, source, Broken())
    assert str(chosen.tolist()) in str(caught.value)
    state = Checkpoint(tmp_path / "last.ckpt", "spec").load()
    assert state["step"] == 5
    assert all(bool(value.isfinite().all()) for value in state["visual"].values())


@pytest.mark.parametrize(("count", "batch", "steps"), [(10, 4, 9), (7, 7, 3), (5, 3, 8)])
def test_order_visits_every_image_once_an_epoch(count, batch, steps):
    flat = np.concatenate([fine_tune.chosen_images(count, batch, step, seed=3) for step in range(steps)])
    for epoch in range(len(flat) // count):
        assert sorted(flat[epoch * count : (epoch + 1) * count]) == list(range(count))
    late = [fine_tune.chosen_images(count, batch, step, seed=3) for step in range(2, steps)]
    assert np.array_equal(np.concatenate(late), flat[2 * batch :])


def test_mistakes_are_named(tmp_path, source):
    with pytest.raises(ZsrError, match="60 is more than the 50"):
        fit(tmp_path, source, images=60)
    with pytest.raises(ZsrError, match="no parameter 'absent'"):
        fine_tune.choose_parameters(type("M", (CE,), {"trainable": lambda self, visual: ["absent"]})(), tower())


def test_a_training_rounds_nothing_to_tf32_whatever_a_script_has_set(tmp_path, source):
    """An H200 rounded the convolutions of cached features to TF32: 2e-4 apart in batches of other sizes."""
    seen = set()

    class Watching(TeCoA):
        def loss(self, task: Task, batch: Batch):
            loss, extra = super().loss(task, batch)
            loss.register_hook(lambda _: seen.add(("backward", *(place.fp32_precision for place in FINE))))
            seen.add(("forward", *(place.fp32_precision for place in FINE)))
            return loss, extra

    torch.set_float32_matmul_precision("high")
    try:
        fit(tmp_path, source, Watching(), epochs=1)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == {(where, *["ieee"] * len(FINE)) for where in ("forward", "backward")}

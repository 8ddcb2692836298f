"""Out of memory in an attack: smaller parts, the same verdicts and the same number of passes, said once."""

import pytest
import torch
from support.attack_models import images
from torch import nn

from zsr.attacks import Normalized, attack
from zsr.attacks.core.threat import Threat

X, Y = images(23, 0)


class Small(nn.Module):
    """Raises above so many images, on the way forward or on the way back, as an allocator would."""

    def __init__(self, most: int, backward: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.GELU(), nn.Linear(16, 10))
        self.most, self.backward, self.refused = most, backward, 0

    def refuse(self, size: int) -> None:
        if size > self.most:
            self.refused += 1
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} GiB")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.backward:
            self.refuse(len(x))
        logits = self.layers(x)
        if self.backward and logits.requires_grad:
            logits.register_hook(lambda grad: self.refuse(len(grad)))
        return logits


SETTINGS = {
    "pgd": {"steps": 5},
    "apgd-ce": {"steps": 10},
    "apgd-t": {"steps": 5, "targets": 3},
    "fab-t": {"steps": 5, "targets": 3},
    "square": {"queries": 20},
}


def run(model: nn.Module, name: str, **extra):
    labels = model.layers(X).argmax(1) if not extra.pop("given", False) else Y
    wrapped = Normalized(model, (0.0,) * X.shape[1], (1.0,) * X.shape[1])
    return attack(wrapped, X, labels, name, eps=0.02, batch_size=16, **SETTINGS[name], **extra)


@pytest.mark.slow
@pytest.mark.parametrize("verdict", ["any", "last"])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_verdicts_are_those_of_enough_memory(name, verdict, capsys):
    if verdict == "last" and name != "pgd":
        pytest.skip("has no last iterate")
    whole = run(Small(1000), name, verdict=verdict)
    assert 0 < int(whole.robust.sum()) < len(X), "some are robust, some are fooled"
    assert capsys.readouterr().err == ""
    for backward in (False, True):
        cut = run(Small(5, backward), name, verdict=verdict)
        for column in ("robust", "prediction", "clean", "step"):
            assert torch.equal(getattr(whole, column), getattr(cut, column)), column
        assert whole.attack == cut.attack
        torch.testing.assert_close(whole.margin, cut.margin, rtol=1e-4, atol=1e-5)
        assert whole.passes == cut.passes, "what ran out of memory is not counted"
        said = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
        notes = [note for note in cut.notes if "out of memory" in note]
        if backward and name == "square":
            assert not said and not notes, "no backward, nothing to run out of"
        else:
            assert len(said) == len(notes) == 1
            assert "4 at once from here on" in notes[0]


def test_it_is_tried_once_per_size_and_not_in_every_pass():
    model = Small(5)
    run(model, "pgd")
    assert model.refused == 2, "16 and 8 images are refused once each, 4 fit"


def test_the_check_of_the_ball_may_run_out_too(monkeypatch):
    whole = run(Small(1000), "pgd")
    contains = Threat.contains

    def refuse_many(threat: Threat, x: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
        Small(5).refuse(len(x))
        return contains(threat, x, x0)

    monkeypatch.setattr(Threat, "contains", refuse_many)
    cut = run(Small(1000), "pgd")
    assert torch.equal(whole.robust, cut.robust)
    assert any("out of memory" in note for note in cut.notes)


def test_one_image_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        run(Small(0), "pgd", given=True)

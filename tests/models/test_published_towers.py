"""Published image towers are laid over their backbone, and refused where its text tower is another."""

from types import SimpleNamespace

import pytest
import torch
from support.hub_models import RESNET, definition, saved, tiny
from support.project import refused

from workflow.scripts import publish
from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.models import convert, weights


def test_a_published_tower_is_laid_over_its_backbone(tmp_path):
    base = {name: value.contiguous() for name, value in tiny().state_dict().items()}
    theirs = {name: value.clone() for name, value in base.items()}
    theirs["visual.proj"] += 0.25
    for checkpoint in (theirs, {n.removeprefix("visual."): v for n, v in theirs.items() if n.startswith("visual.")}):
        tower, rest = convert.tower_of(checkpoint)
        convert.check_text(rest, base, tmp_path)
        found = convert.changed(tower, base, tmp_path)
        assert found.keys() == {"proj"} and torch.equal(found["proj"], theirs["visual.proj"])
    theirs["text_projection"] = theirs["text_projection"] + 1
    with pytest.raises(ZsrError, match=r"its text tower is not the backbone's \('text_projection' differs\)"):
        convert.check_text(convert.tower_of(theirs)[1], base, tmp_path)
    with pytest.raises(ZsrError, match="not a checkpoint of this backbone"):
        convert.changed(tiny(RESNET).visual.state_dict(), base, tmp_path)


def test_a_published_tower_of_another_activation_is_refused(tmp_path, monkeypatch):
    """Only an archive tells; its tensors would fit."""
    path, record = saved(tmp_path, tiny().state_dict(), definition())
    inputs = {"backbone": tmp_path / "backbone.json", "weights": path}
    job = SimpleNamespace(
        spec={"source": {"sha256": file_digest(path)}},
        record=lambda _: record,
        checked=lambda role, file: path,
        input=inputs.get,
        outputs={},
        facts={},
    )
    monkeypatch.setattr(weights, "read", lambda _: (tiny().state_dict(), True))
    with refused("its weights were trained with QuickGELU; write the name with -quickgelu"):
        publish.work(job)


def text_of(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """The text tower of a whole CLIP, with other values."""
    return convert.tower_of({**tiny().state_dict(), **changes})[1]


def test_a_text_tower_is_the_backbones_up_to_a_rounding_to_fp16(tmp_path):
    base = tiny().state_dict()
    base["token_embedding.weight"] = torch.logspace(-9, 4, 49408 * 32).view(49408, 32) * (-1) ** torch.arange(32)
    rounded = {name: value.half().float() for name, value in base.items()}
    convert.check_text(convert.tower_of(rounded)[1], base, tmp_path)
    convert.check_text(convert.tower_of(base)[1], rounded, tmp_path)
    base = tiny().state_dict()
    tuned = base["token_embedding.weight"] + 0.0015  # a text tower after a short fine-tuning at a small rate
    with refused(r"its text tower is not the backbone's \('token_embedding.weight' differs\)"):
        convert.check_text(text_of(**{"token_embedding.weight": tuned}), base, tmp_path)


def test_text_towers_are_compared_under_both_of_open_clips_spellings(tmp_path):
    base = tiny().state_dict()
    custom = {name if name.startswith(("visual.", "logit")) else f"text.{name}": v for name, v in base.items()}
    other = custom | {"text.text_projection": base["text_projection"] + 1}
    for mine, theirs, wrong in ((base, custom, other), (custom, base, base | {"text_projection": torch.zeros(32, 32)})):
        convert.check_text(convert.tower_of(theirs)[1], mine, tmp_path)
        with refused(r"not the backbone's \('text_projection' differs\)"):
            convert.check_text(convert.tower_of(wrong)[1], mine, tmp_path)
    foreign = {"text.encoder.weight": torch.zeros(2)}
    with refused(r"not the backbone's \(no tensor of it has a name that the backbone's has\); make it a backbone"):
        convert.check_text(foreign, base, tmp_path)
    convert.check_text({"logit_scale": base["logit_scale"]}, base, tmp_path)  # says nothing of a text tower

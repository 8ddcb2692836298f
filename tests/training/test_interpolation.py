"""Weights between two models: the very ends at 0 and 1, the mean between them, and nothing that does not fit."""

import numpy as np
import pytest
import torch
from support.project import refused

from zsr.models.backbone import build
from zsr.training.interpolation import mix, offsets

BASE = {
    "visual.a.weight": np.array([[1.0, -2.0], [0.5, 3e-8]], np.float32),
    "visual.norm.running_var": np.array([0.25, 4.0], np.float32),
    "visual.norm.count": np.array(0, np.int64),
    "text.b": np.array([7.0], np.float32),
}
START = {"norm.count": np.array(3, np.int64)}
END = {
    "a.weight": np.array([[0.1, -0.0], [np.float32(1e-30), 3e-8]], np.float32),
    "norm.running_var": np.array([0.5, 1.0], np.float32),
    "norm.count": np.array(40, np.int64),
}


def whole(tensors):
    """All tensors of the tower, with the backbone's where a model names none."""
    return {name.removeprefix("visual."): v for name, v in BASE.items() if name.startswith("visual.")} | tensors


def same_bits(one, other):
    return one.keys() == other.keys() and all(one[k].tobytes() == other[k].tobytes() for k in one)


@pytest.mark.parametrize(("alpha", "end"), [(0.0, START), (1.0, END)])
def test_the_ends_are_the_ends_to_the_bit(alpha, end):
    assert same_bits(whole(mix(BASE, START, END, alpha)), whole(end))


@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.5, 0.9])
def test_between_is_the_weighted_mean_of_every_tensor(alpha):
    found, a, b = whole(mix(BASE, START, END, alpha)), whole(START), whole(END)
    for name in ("a.weight", "norm.running_var"):
        for place, value in np.ndenumerate(found[name]):
            exact = (1 - alpha) * float(a[name][place]) + alpha * float(b[name][place])
            assert value == np.float32(exact)
    assert found["norm.count"] == (3 if alpha < 0.5 else 40)
    assert all(value.dtype == BASE[f"visual.{name}"].dtype for name, value in found.items())


def test_order_of_the_ends_matters():
    assert not np.array_equal(mix(BASE, START, END, 0.25)["a.weight"], mix(BASE, END, START, 0.25)["a.weight"])


def test_what_is_the_backbones_is_not_saved():
    assert offsets(mix(BASE, {}, {}, 0.5), BASE) == {}
    kept = offsets(mix(BASE, {}, {"a.weight": BASE["visual.a.weight"], "norm.count": np.array(1)}, 1.0), BASE)
    assert list(kept) == ["norm.count"]


def test_prompts_of_two_models_of_one_method_mix_too():
    """A wrapped tower's tensors begin with `visual.`, its own have other names."""
    ends = ({"prompt": np.full(2, v, np.float32), "visual.norm.running_var": np.full(2, v, np.float32)} for v in (1, 3))
    found = mix(BASE, *ends, 0.5)
    assert found["prompt"].tolist() == [2, 2] and found["visual.norm.running_var"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ({}, {"prompt": np.zeros(2, np.float32)}, "one end has a tensor 'prompt', neither the other nor the backbone"),
        ({"prompt": np.zeros(2)}, {"prompt": np.zeros(3)}, r"'prompt' is \[2\] in one end and \[3\] in the other"),
        ({}, {"a.weight": np.zeros(2, np.float32)}, r"'a.weight' is \[2, 2\] in one end and \[2\] in the other"),
    ],
)
def test_other_tensors_are_one_line(start, end, words):
    with refused(words):
        mix(BASE, start, end, 0.5)


def test_a_mixed_tower_computes_with_mixed_weights():
    """Linear in its last layer: features of the mean are the mean of the features, through open_clip's tower."""
    import yaml

    from zsr.config.backbones import ARCHS

    clip = build(yaml.safe_load((ARCHS / "drawn-vit.yaml").read_text(encoding="utf-8"))).clip.eval()
    base = {name: value.numpy().copy() for name, value in clip.state_dict().items()}
    other = {"proj": base["visual.proj"][:, ::-1].copy()}
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def features(tensors):
        clip.visual.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, strict=False)
        with torch.no_grad():
            return clip.visual(images)

    ends = [features({"proj": base["visual.proj"]}), features(other)]
    between = features(mix(base, {}, other, 0.25))
    torch.testing.assert_close(between, 0.75 * ends[0] + 0.25 * ends[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(between, ends[0], atol=1e-3)

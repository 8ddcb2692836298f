"""Stored adversarial examples come back to the last bit, whatever made them, and small where they can be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zsr.errors import ZsrError
from zsr.storage import examples
from zsr_kernels import reference

EPS = 4 / 255


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 3, 9, 7), dtype=np.uint8)


def ends(images, index, radius=EPS, seed=1):
    """Examples at the ends of their balls, as the attack's own projection makes them."""
    x0 = reference.pixels(torch.from_numpy(images[index]))
    sign = torch.from_numpy(np.random.default_rng(seed).integers(-1, 2, x0.shape)).float()
    return reference.linf_project(x0 + 2 * radius * sign, x0, radius).numpy()


def inside(images, index, radius=EPS, seed=2):
    """Examples somewhere in their balls."""
    x0 = reference.pixels(torch.from_numpy(images[index])).numpy()
    noise = np.random.default_rng(seed).uniform(-radius, radius, x0.shape).astype(np.float32)
    return np.clip(x0 + noise, 0, 1).astype(np.float32)


def anything(images, index, seed=3):
    """Any float32 patterns: minus zero, denormals, huge, infinite, NaN."""
    shape = (len(index), *images.shape[1:])
    return np.random.default_rng(seed).integers(-(2**31), 2**31, shape, dtype=np.int64).astype(np.int32).view("f4")


@pytest.mark.parametrize("make", [ends, inside, anything])
@pytest.mark.parametrize("radius", [0.0, EPS, 8.0])
def test_bits_come_back(tmp_path, images, make, radius):
    index = np.array([3, 0, 39, 12])
    x_adv = make(images, index)
    examples.write_examples(tmp_path / "a.parquet", index, images, x_adv, radius=radius)
    found = examples.read_examples(tmp_path / "a.parquet", images)
    assert np.array_equal(found.index, index)
    assert found.x_adv.dtype == np.float32
    assert np.array_equal(found.x_adv.view(np.int32), x_adv.view(np.int32))
    assert np.array_equal(examples.stored(tmp_path / "a.parquet"), index)
    two = list(examples.parts(tmp_path / "a.parquet", images, 2))
    assert [len(part.index) for part in two[:-1]] == [2] * (len(two) - 1)
    assert np.concatenate([part.x_adv for part in two]).tobytes() == found.x_adv.tobytes()
    assert np.array_equal(np.concatenate([part.index for part in two]), found.index)
    some = examples.read_examples(tmp_path / "a.parquet", images, only=[2, 0])
    assert np.array_equal(some.index, [39, 3])
    assert np.array_equal(some.x_adv.view(np.int32), x_adv[[2, 0]].view(np.int32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 255), st.integers(-(2**31), 2**31 - 1), st.sampled_from([0.0, EPS, 1.0]))
def test_any_pixel_comes_back(tmp_path_factory, value, pattern, radius):
    path = tmp_path_factory.getbasetemp() / "pixel.parquet"
    image = np.full((1, 1, 1, 1), value, np.uint8)
    x_adv = np.array(pattern, np.int32).view(np.float32).reshape(1, 1, 1, 1)
    examples.write_examples(path, np.array([0]), image, x_adv, radius=radius)
    assert examples.read_examples(path, image).x_adv.view(np.int32).item() == pattern


def test_examples_at_the_ends_of_the_ball_take_a_twelfth(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    index = np.arange(64)
    raw = 64 * 3 * 32 * 32 * 4
    for name, make, most in (("ends", ends, 1 / 12), ("inside", inside, 0.75)):
        examples.write_examples(tmp_path / name, index, images, make(images, index), radius=EPS)
        assert (tmp_path / name).stat().st_size < most * raw, name


def test_none_are_a_valid_file_and_equal_examples_are_equal_bytes(tmp_path, images):
    none = np.empty(0, np.int64)
    examples.write_examples(tmp_path / "none", none, images, np.empty((0, 3, 9, 7), np.float32))
    found = examples.read_examples(tmp_path / "none", images)
    assert found.x_adv.shape == (0, 3, 9, 7)
    for name in ("one", "two"):
        examples.write_examples(tmp_path / name, np.arange(5), images, inside(images, np.arange(5)), radius=EPS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_does_not_fit_is_refused(tmp_path, images):
    path = tmp_path / "a.parquet"
    examples.write_examples(path, np.array([30]), images, inside(images, [30]), radius=EPS)
    with pytest.raises(ZsrError, match="the split has 10"):
        examples.read_examples(path, images[:10])
    with pytest.raises(ZsrError, match="does not fit images"):
        examples.read_examples(path, np.zeros((40, 3, 4, 4), np.uint8))
    with pytest.raises(ZsrError, match="do not fit"):
        examples.write_examples(path, np.array([1, 2]), images, inside(images, [30]))
    path.write_bytes(b"not parquet")
    with pytest.raises(ZsrError, match="no file of adversarial examples"):
        examples.read_examples(path, images)

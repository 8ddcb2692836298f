"""The check of ball and box, which every verdict passes: against float64 sums, just inside and just outside."""

import numpy as np
import pytest
import torch

from zsr.attacks.core.threat import Threat

SIDE = 224  # as many terms as a real image has: float32 sums of them would err by more than the tolerance


@pytest.mark.parametrize(("norm", "eps", "order"), [("linf", 4 / 255, np.inf), ("l2", 3.0, 2), ("l1", 75.0, 1)])
def test_the_ball_ends_at_its_radius(norm, eps, order):
    generator = torch.Generator().manual_seed(0)
    x0 = 0.25 + 0.5 * torch.rand(4, 3, SIDE, SIDE, generator=generator)
    noise = torch.randn(x0.shape, generator=generator).numpy().astype(np.float64)
    lengths = np.linalg.norm(noise.reshape(4, -1), order, axis=1).reshape(4, 1, 1, 1)
    for factor, expected in ((1 - 1e-5, True), (1 + 1e-4, False)):
        x = torch.from_numpy((x0.numpy() + factor * eps * noise / lengths).astype(np.float32))
        assert Threat(norm, eps).contains(x, x0).tolist() == [expected] * 4


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_box_ends_at_zero_and_one(norm):
    x0 = torch.full((3, 3, 4, 4), 0.5)
    x0[1], x0[2] = 0.0, 1.0
    x = x0.clone()
    x[1, 0, 0, 0], x[2, 0, 0, 0] = -1e-6, 1 + 1e-6
    assert Threat(norm, 0.1).contains(x, x0).tolist() == [True, False, False]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_nan_is_outside(norm):
    x0 = torch.full((2, 3, 4, 4), 0.5)
    x = x0.clone()
    x[1, 0, 0, 0] = torch.nan
    assert Threat(norm, 0.1).contains(x, x0).tolist() == [True, False]


def test_bytes_are_pixels():
    x0 = torch.full((1, 3, 4, 4), 128, dtype=torch.uint8)
    assert Threat("linf", 1 / 255).contains(torch.full((1, 3, 4, 4), 129 / 255), x0).tolist() == [True]
    assert Threat("linf", 1 / 255).contains(torch.full((1, 3, 4, 4), 130 / 255), x0).tolist() == [False]

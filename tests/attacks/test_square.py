"""Square's moves in L2 and L1 against the paper's algorithm 3, image by image with slices."""

import math

import pytest
import torch

from zsr.attacks.core.schedule import PassResult
from zsr.attacks.core.square_patches import PatchSteps, pattern, sides
from zsr.attacks.core.threat import Threat
from zsr_kernels import draws


def moved(delta, numbers, side, norm, eps):
    """One image's next perturbation before it is put onto the ball; two windows, the pattern, signs of the channels."""
    p = {"l2": 2, "l1": 1}[norm]
    c, h, w = delta.shape
    row, column, row_out, column_out = (int(n * (m - side + 1)) for n, m in zip(numbers[:4], (h, w, h, w), strict=True))
    into = (slice(row, row + side), slice(column, column + side))
    out_of = (slice(row_out, row_out + side), slice(column_out, column_out + side))
    windows = torch.zeros(h, w, dtype=torch.bool)
    windows[into] = windows[out_of] = True
    bump = pattern(side, norm)
    bump = bump if numbers[4] < 0.5 else bump.T
    result = delta.clone()
    result[:, out_of[0], out_of[1]] = 0.0
    for channel, number in enumerate(numbers[5:]):
        old = delta[channel][into]
        new = bump * (1.0 if number < 0.5 else -1.0) + old / (old.norm(p) + 1e-12)
        left = max(eps**p - float(delta.norm(p)) ** p, 0.0) / c  # what the ball has room for, shared by the channels
        room = left + float(delta[channel][windows].norm(p)) ** p
        result[channel][into] = new / new.norm(p) * (math.sqrt(room) if p == 2 else room * c)
    return result


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 9, 13)])
@pytest.mark.parametrize("norm, eps", [("l2", 1.5), ("l1", 12.0)])
def test_a_query_is_the_papers(norm, eps, shape, fixed):
    generator = torch.Generator().manual_seed(0)
    threat, schedule, images = Threat(norm, eps), PatchSteps(100), 8
    x0, key = torch.rand(images, *shape, generator=generator), torch.arange(images)
    state = schedule.begin(threat, {"x0": x0, "key": key}, 5, 0) | {"x0": x0}
    c, h, w = shape
    for query in range(6):
        age = [query + 12 * image for image in range(images)]  # patches of several sizes side by side
        loss = torch.randn(images, generator=generator)
        schedule.advance(threat, state, PassResult(loss, None, None, age, fixed))
        first, second = draws.stream_keys(key, 5, 0)
        for image, k in enumerate(age):
            at = torch.arange(c + 5, dtype=torch.int32) + k * (c + 5) + h * w * (c + 1)
            numbers = draws.draw(first[image : image + 1], second[image : image + 1], at)[0].tolist()
            side = sides(100, 0.8, h, w, 3, True)[k]
            wanted = moved(state["best"][image] - x0[image], numbers, side, norm, eps)
            if norm == "l2":
                wanted = (x0[image] + wanted * eps / wanted.norm()).clamp(0, 1)
            else:  # the projection has tests of its own
                wanted = threat.project(x0[image : image + 1] + wanted, x0[image : image + 1])[0]
            torch.testing.assert_close(state["x"][image], wanted, rtol=0, atol=2e-6)

"""The meaning of the kernels: `zsr_kernels.reference`, against formulas written out once more, slowly."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zsr_kernels
from zsr_kernels import KernelError, Normalisation, draws, reference

FIRST_RELEASE = [[3846363, 16392075, 14711583], [8290409, 15867979, 7676739], [9576364, 7397655, 9534430]]
MEAN, STD = torch.tensor([0.48, 0.46, 0.41]), torch.tensor([0.27, 0.26, 0.28])


def batch(shape=(2, 3, 5, 7), seed=0):
    g = torch.Generator().manual_seed(seed)
    x0 = torch.rand(shape, generator=g)
    x = (x0 + 0.02 * (torch.rand(shape, generator=g) - 0.5)).clamp(0, 1)
    return x, x0, torch.randn(shape, generator=g)


def test_linf_step_pixel_by_pixel():
    x, x0, grad = batch()
    grad.view(-1)[:3] = torch.tensor([float("nan"), 0.0, -0.0])
    got, net = zsr_kernels.linf_step(x, x0, grad, 0.01, 0.013, Normalisation(MEAN, STD))
    for at in range(x.numel()):
        b, c, h, w = (int(v) for v in torch.unravel_index(torch.tensor(at), x.shape))
        g = float(grad[b, c, h, w])
        sign = 0.0 if math.isnan(g) or g == 0 else math.copysign(1.0, g)
        y = float(x[b, c, h, w]) + 0.01 * sign
        center = float(x0[b, c, h, w])
        y = min(max(y, center - 0.013), center + 0.013)
        y = min(max(y, 0.0), 1.0)
        assert abs(float(got[b, c, h, w]) - y) < 1e-6
        assert abs(float(net[b, c, h, w]) - (y - float(MEAN[c])) / float(STD[c])) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_gradients_dtype_does_not_matter_for_its_sign(dtype):
    x, x0, grad = batch()
    grad = grad.to(dtype)
    assert torch.equal(
        zsr_kernels.linf_step(x, x0, grad, 0.01, 0.02)[0], zsr_kernels.linf_step(x, x0, grad.float(), 0.01, 0.02)[0]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_network_gets_its_dtype(dtype):
    x, x0, grad = batch()
    for op in (zsr_kernels.linf_step, zsr_kernels.l2_step, zsr_kernels.l1_step):
        y, net = op(x, x0, grad, 0.01, 0.5, Normalisation(MEAN, STD, dtype))
        assert y.dtype == torch.float32 and net.dtype == dtype
        torch.testing.assert_close(net, reference.normalize(y, Normalisation(MEAN, STD, dtype)), rtol=0, atol=0)


def test_uint8_means_a_255th():
    x, _, grad = batch()
    x0 = (x * 255).round().to(torch.uint8)
    a = zsr_kernels.linf_step(x, x0, grad, 0.01, 0.02, Normalisation(MEAN, STD))
    b = zsr_kernels.linf_step(x, x0.float() / 255, grad, 0.01, 0.02, Normalisation(MEAN, STD))
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_step_and_radius_per_image():
    x, x0, grad = batch((3, 3, 4, 4))
    step, eps = torch.tensor([0.0, 0.01, 0.02]), torch.tensor([0.1, 0.0, 0.005])
    for op in (zsr_kernels.linf_step, zsr_kernels.l2_step, zsr_kernels.l1_step):
        together = op(x, x0, grad, step, eps)[0]
        for k in range(3):
            row = slice(k, k + 1)
            alone = op(x[row], x0[row], grad[row], float(step[k]), float(eps[k]))[0]
            torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-7)
    assert torch.equal(zsr_kernels.linf_step(x, x0, grad, step, eps)[0][1], x0[1])


def test_nan_pixels_stay_nan():
    x, x0, grad = batch()
    x.view(-1)[0] = float("nan")
    y, net = zsr_kernels.linf_step(x, x0, grad, 0.01, 0.02, Normalisation(MEAN, STD))
    assert torch.isnan(y.view(-1)[0]) and torch.isnan(net.view(-1)[0])


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_zero_gradient_is_no_step(norm):
    _, x0, grad = batch()
    y = getattr(zsr_kernels, f"{norm}_step")(x0, x0, torch.zeros_like(grad), 0.5, 1.0, Normalisation(MEAN, STD))[0]
    torch.testing.assert_close(y, x0, rtol=0, atol=1e-7)


def test_l2_step_divides_the_gradient_by_std():
    _, x0, grad = batch((1, 3, 4, 4))
    x0 = 0.4 + 0.2 * x0
    y = zsr_kernels.l2_step(x0, x0, grad, 0.01, 1.0, Normalisation(MEAN, STD))[0]
    direction = grad / STD.view(1, 3, 1, 1)
    torch.testing.assert_close(y, x0 + 0.01 * direction / direction.norm(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1, 3, 1, 1), (1, 1, 3, 2), (5, 4)])
def test_odd_shapes(shape):
    x, x0, grad = batch(shape)
    mean, std = torch.full((shape[1],), 0.5), torch.full((shape[1],), 0.2)
    for op in (zsr_kernels.linf_step, zsr_kernels.l2_step, zsr_kernels.l1_step):
        y, net = op(x, x0, grad, 0.01, 0.02, Normalisation(mean, std))
        assert y.shape == net.shape == x.shape


def test_memory_layout_does_not_matter():
    x, x0, grad = batch((2, 3, 4, 6))
    for op in (zsr_kernels.linf_step, zsr_kernels.l2_step):
        plain = op(x, x0, grad, 0.01, 0.2, Normalisation(MEAN, STD))
        last = op(
            *(t.to(memory_format=torch.channels_last) for t in (x, x0, grad)), 0.01, 0.2, Normalisation(MEAN, STD)
        )
        for a, b in zip(plain, last, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"x": torch.zeros(2, 3, 5, 7, dtype=torch.float64)}, "x must be float32"),
        ({"x0": torch.zeros(2, 3, 5, 6)}, "x0 has shape"),
        ({"grad": torch.zeros(2, 3, 5, 7, dtype=torch.int32)}, "grad is"),
        ({"step": torch.zeros(3)}, "step has shape"),
        ({"eps": torch.zeros(2, dtype=torch.float64)}, "eps is"),
        ({"normalisation": Normalisation(torch.zeros(4), torch.ones(3))}, "mean has shape"),
        ({"normalisation": Normalisation(torch.zeros(3))}, "mean and std go together"),
        ({"grad": torch.zeros(2, 3, 5, 7, device="meta")}, "grad is on meta"),
    ],
)
def test_wrong_arguments_are_named(change, named):
    x, x0, grad = batch()
    arguments = {"x": x, "x0": x0, "grad": grad, "step": 0.01, "eps": 0.02} | change
    with pytest.raises(KernelError, match=named):
        zsr_kernels.linf_step(**arguments)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda x: zsr_kernels.normalize(x, Normalisation(MEAN)), "normalize: mean and std go together"),
        (lambda x: zsr_kernels.normalize(x, Normalisation(MEAN, STD[:2])), "normalize: std has shape"),
        (
            lambda x: zsr_kernels.normalize(x.double(), Normalisation(MEAN, STD)),
            "normalize: x must be float32 or uint8",
        ),
        (lambda x: zsr_kernels.start(x.double(), torch.arange(2), 0, 0, 0.1), "start: x0 must be float32 or uint8"),
        (lambda x: zsr_kernels.start(x, torch.arange(2), 0, 0, torch.ones(3)), "start: eps has shape"),
        (lambda x: zsr_kernels.start(x, torch.arange(3), 0, 0, 0.1), "start: keys must be int64"),
        (lambda x: zsr_kernels.start(x[0, 0, 0], torch.arange(7), 0, 0, 0.1), "start: images must be"),
    ],
)
def test_wrong_arguments_of_what_makes_images_are_named(call, named):
    with pytest.raises(KernelError, match=named):
        call(batch()[0])


# -- projections ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.sampled_from([0.01, 0.3, 2.0]), st.sampled_from([0.1, 1.0, 5.0]))
def test_l1_projection_is_the_nearest_point(seed, n, scale, eps):
    g = torch.Generator().manual_seed(seed)
    x0 = torch.rand(1, n, generator=g)
    x0[0, :: max(n // 3, 1)] = 0.0
    y = x0 + scale * torch.randn(1, n, generator=g)
    z = reference.l1_project(y, x0, eps)
    assert (z - x0).abs().sum() <= eps * (1 + 1e-6) and z.min() >= 0 and z.max() <= 1
    # bisection in double precision on the Lagrange multiplier
    d, origin = (y - x0).double(), x0.double()
    room = torch.where(d > 0, 1 - origin, origin)
    low, high = 0.0, float(d.abs().max())
    for _ in range(200):
        t = (low + high) / 2
        total = torch.minimum((d.abs() - t).clamp_min(0), room).sum()
        low, high = (t, high) if total > eps else (low, t)
    t = 0.0 if torch.minimum(d.abs(), room).sum() <= eps else high
    best = origin + d.sign() * torch.minimum((d.abs() - t).clamp_min(0), room)
    assert (z.double() - y).norm() <= (best - y.double()).norm() * (1 + 1e-4) + 1e-4 * eps


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["linf", "l2", "l1"]), st.floats(0, 3))
def test_steps_and_starts_end_in_ball_and_box(seed, norm, eps):
    x, x0, grad = batch((2, 3, 6, 6), seed)
    step = getattr(zsr_kernels, f"{norm}_step")(x, x0, grad, 1.3 * eps + 0.01, eps)[0]
    begun = zsr_kernels.start(x0, torch.tensor([seed, 1]), seed, 3, eps, norm)[0]
    for y in (step, begun):
        delta = (y - x0).double().flatten(1)
        size = {"linf": delta.abs().amax(1), "l2": delta.norm(dim=1), "l1": delta.abs().sum(1)}[norm]
        assert (size <= eps + 1e-6 * max(1, eps)).all() and y.min() >= 0 and y.max() <= 1


# -- random numbers ---------------------------------------------------------------------------------------------------


def test_draws_are_the_ones_of_the_first_release():
    """Results carry their seeds: these numbers may not change without saying so."""
    got = draws.uniform(torch.tensor([0, 1, 2**40 + 3]), 7, 2, 3)
    wanted = torch.tensor(FIRST_RELEASE, dtype=torch.float64)
    torch.testing.assert_close(got.double() * 2**24, wanted, rtol=0, atol=0)


def test_draws_depend_on_image_seed_stream_and_nothing_else():
    keys = torch.tensor([5, 6, 7, 2**62 - 1])
    all_of_them = draws.uniform(keys, 1, 2, 50)
    assert torch.equal(draws.uniform(keys[2:3], 1, 2, 50)[0], all_of_them[2])
    assert torch.equal(draws.uniform(keys, 1, 2, 20), all_of_them[:, :20])
    for other in (draws.uniform(keys, 2, 2, 50), draws.uniform(keys, 1, 3, 50)):
        assert not torch.equal(other, all_of_them)
    assert not torch.equal(draws.uniform(torch.tensor([1]), 0, 0, 9), draws.uniform(torch.tensor([1 + 2**32]), 0, 0, 9))


def test_draws_are_uniform_and_uncorrelated():
    n = 20000
    u = draws.uniform(torch.arange(64), 0, 0, n)
    assert u.min() >= 0 and u.max() < 1
    counts = torch.histc(u, 256, 0, 1)
    expected = u.numel() / 256
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert 150 < chi2 < 380  # 255 degrees of freedom: mean 255, sd 22.6
    c = torch.corrcoef(torch.cat([u, draws.uniform(torch.arange(8), 0, 1, n), draws.uniform(torch.arange(8), 1, 0, n)]))
    off = c - torch.diag(torch.diag(c))
    assert float(off.abs().max()) < 5.5 / math.sqrt(n)  # neighbouring keys, streams and seeds
    lag = ((u[:, 1:] - 0.5) * (u[:, :-1] - 0.5)).mean() * 12
    assert abs(float(lag)) < 5 / math.sqrt(u.numel())
    z = draws.normal(torch.arange(64), 0, 0, n)
    assert abs(float(z.mean())) < 5 / math.sqrt(z.numel()) and abs(float(z.std()) - 1) < 0.005

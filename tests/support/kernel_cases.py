"""Every Triton kernel against the reference: in Triton's interpreter on a CPU, or compiled on a GPU.

    python tests/support/kernel_cases.py                # interpreted; `test_kernels_triton.py` runs it as a process
    python tests/support/kernel_cases.py cuda [CASE …]  # compiled; all cases unless some are named

`TRITON_INTERPRET=1` is read when a kernel is first decorated: it cannot be switched on inside a running test session.
Prints one JSON line per case: [name, "" or what went wrong].
"""

import itertools
import json
import os
import sys

DEVICE, *CHOSEN = sys.argv[1:] or ["cpu"]
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"

import torch  # noqa: E402

from zsr_kernels import Normalisation, reference  # noqa: E402
from zsr_kernels.cuda import apgd_step, apgd_track, l2_step, linf_step, normalize, start  # noqa: E402

torch.set_default_device(DEVICE)
MEAN, STD = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
SHAPES = [(1, 3, 1, 1), (2, 3, 5, 7), (3, 3, 8, 8), (0, 3, 4, 4), (1, 3, 0, 4)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
BLOCK = 64  # several blocks per image, the last one ragged
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def batch(shape, seed=0, uint8=False, grad_dtype=torch.float32):
    g = torch.Generator(DEVICE).manual_seed(seed)
    x0 = torch.randint(0, 256, shape, generator=g, dtype=torch.uint8)
    x0 = x0 if uint8 else x0.float() / 255
    x = (reference.pixels(x0) + 0.02 * (torch.rand(shape, generator=g) - 0.5)).clamp(0, 1)
    grad = torch.randn(shape, generator=g).to(grad_dtype)
    return x, x0, grad


def same(got, wanted, exact=True):
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape, (a.dtype, b.dtype, a.shape, b.shape)
        if exact:
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
        else:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6, equal_nan=True)


@case
def bytes_become_the_nearest_floats():
    """CUDA divides by a number through its reciprocal: half of the 256 values would be another float."""
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(reference.pixels(every), (every.double() / 255).float())


@case
def linf_step_is_bit_equal_over_shapes_and_dtypes():
    for shape, grad_dtype, out, uint8 in itertools.product(
        SHAPES, DTYPES, (torch.float32, torch.float16), (True, False)
    ):
        x, x0, grad = batch(shape, 1, uint8, grad_dtype)
        for mean, std in ((MEAN, STD), (None, None)):
            args = (x, x0, grad, 0.01, 0.013, Normalisation(mean, std, out))
            same(linf_step.launch(*args, block=BLOCK), reference.linf_step(*args))


@case
def linf_step_takes_a_step_and_a_radius_per_image():
    x, x0, grad = batch((3, 3, 5, 5))
    step, eps = torch.tensor([0.0, 0.01, 0.5]), torch.tensor([0.03, 0.0, 0.01])
    args = (x, x0, grad, step, eps, Normalisation(MEAN, STD))
    same(linf_step.launch(*args, block=BLOCK), reference.linf_step(*args))


@case
def linf_step_nan_zero_and_infinite_gradients():
    x, x0, grad = batch((1, 3, 2, 2))
    grad.view(-1)[:5] = torch.tensor([float("nan"), 0.0, -0.0, float("inf"), float("-inf")])
    got = linf_step.launch(x, x0, grad, 0.01, 0.05, Normalisation(), block=BLOCK)
    same(got, reference.linf_step(x, x0, grad, 0.01, 0.05))
    assert torch.equal(got[0].view(-1)[:3], reference.linf_project(x, x0, 0.05).view(-1)[:3])  # NaN and +-0: no move


@case
def linf_step_keeps_nan_pixels():
    x, x0, grad = batch((1, 3, 2, 2))
    x.view(-1)[0] = float("nan")
    got = linf_step.launch(x, x0, grad, 0.01, 0.05, Normalisation(MEAN, STD), block=BLOCK)
    assert torch.isnan(got[0].view(-1)[0]) and torch.isnan(got[1].view(-1)[0])
    same(got, reference.linf_step(x, x0, grad, 0.01, 0.05, Normalisation(MEAN, STD)))


@case
def linf_step_reads_strided_input():
    x, x0, grad = batch((2, 3, 4, 6))
    strided = [t.to(memory_format=torch.channels_last) for t in (x, x0, grad)]
    plain = reference.linf_step(x, x0, grad, 0.01, 0.05, Normalisation(MEAN, STD))
    same(linf_step.launch(*strided, 0.01, 0.05, Normalisation(MEAN, STD), block=BLOCK), plain)
    turned = [t.transpose(2, 3) for t in (x, x0, grad)]
    got = linf_step.launch(*turned, 0.01, 0.05, Normalisation(MEAN, STD), block=BLOCK)
    same([t.transpose(2, 3) for t in got], plain)


@case
def l2_step_matches():
    for shape, grad_dtype, uint8 in itertools.product(SHAPES, DTYPES, (True, False)):
        x, x0, grad = batch(shape, 2, uint8, grad_dtype)
        for mean, std in ((MEAN, STD), (None, None)):
            args = (x, x0, grad, 0.3, 0.2, Normalisation(mean, std))
            same(l2_step.launch(*args, block=BLOCK), reference.l2_step(*args), exact=False)


@case
def l2_step_guards_a_zero_gradient():
    x, x0, grad = batch((2, 3, 5, 5))
    grad[0] = 0
    got = l2_step.launch(x, x0, grad, 0.3, 10.0, Normalisation(MEAN, STD), block=BLOCK)
    assert torch.isfinite(got[0]).all()
    same(got, reference.l2_step(x, x0, grad, 0.3, 10.0, Normalisation(MEAN, STD)), exact=False)


@case
def apgd_step_matches():
    for shape, grad_dtype, uint8 in itertools.product(SHAPES[1:], DTYPES, (True, False)):
        x, x0, grad = batch(shape, 3, uint8, grad_dtype)
        x_prev, _, grad_best = batch(shape, 4, uint8, grad_dtype)
        x_best = (x + x_prev) / 2
        n = shape[0]
        restore = torch.arange(n) % 2 == 0
        step, weight = torch.linspace(0.001, 0.03, n), torch.tensor([1.0, 0.75, 0.75])[:n]
        for flags, (mean, std) in itertools.product((restore, None), ((MEAN, STD), (None, None))):
            args = (x, x_prev, x_best, x0, grad, grad_best, flags, step, weight, 0.02, Normalisation(mean, std))
            same(apgd_step.launch(*args, block=BLOCK), reference.apgd_step(*args), exact=False)


@case
def apgd_step_copies_no_start_where_nobody_goes_back():
    x, x0, grad = batch((2, 3, 5, 7), 9)
    rows = torch.tensor([0.01, 0.02])
    for step in (apgd_step.launch, reference.apgd_step):
        assert step(x, x, x, x0, grad, grad, None, rows, rows, 0.02, Normalisation(MEAN, STD))[1] is x


@case
def apgd_track_is_bit_equal():
    for grad_dtype in DTYPES:
        x, _, grad = batch((4, 3, 5, 5), 5, False, grad_dtype)
        loss = torch.tensor([1.0, 2.0, 3.0, float("nan")])
        kept = [torch.zeros_like(x), torch.zeros_like(grad), torch.tensor([2.0, 2.0, 1.0, 0.0]),
                torch.tensor([0.0, 9.0, 2.0, 1.0]), torch.tensor([0, 1, 2, 3])]  # fmt: skip
        mine, theirs = [t.clone() for t in kept], [t.clone() for t in kept]
        apgd_track.launch(x, grad, loss, *mine, block=BLOCK)
        reference.apgd_track(x, grad, loss, *theirs)
        same(mine, theirs)


@case
def start_draws_the_same_numbers():
    keys = torch.tensor([0, 7, 2**40 + 3])
    for shape, uint8 in itertools.product([(3, 3, 5, 7), (3, 3, 1, 1)], (True, False)):
        _, x0, _ = batch(shape, 6, uint8)
        for mean, std in ((MEAN, STD), (None, None)):
            got = start.launch(x0, keys, 123, 4, 0.03, Normalisation(mean, std), block=BLOCK)
            wanted = reference.start(x0, keys, 123, 4, 0.03, "linf", Normalisation(mean, std))
            torch.testing.assert_close(got[0], wanted[0], rtol=0, atol=6e-8)  # contraction of eps * (2u - 1) + x0
            torch.testing.assert_close(got[1], wanted[1], rtol=0, atol=1e-6)


@case
def normalize_is_bit_equal():
    for shape, out, uint8 in itertools.product(SHAPES, DTYPES, (True, False)):
        x, x0, _ = batch(shape, 7, uint8)
        images = x0 if uint8 else x
        normalisation = Normalisation(MEAN, STD, out)
        got, wanted = normalize.launch(images, normalisation, block=BLOCK), reference.normalize(images, normalisation)
        if (
            out == torch.bfloat16
        ):  # the interpreter truncates to bfloat16 where the GPU rounds: one unit in the last place
            torch.testing.assert_close(got.float(), wanted.float(), rtol=2**-7, atol=0)
        else:
            same([got], [wanted])


@case
def mean_and_std_may_have_gaps():
    """Columns of a table, and one value for all channels: views whose memory is not one value after the other."""
    table = torch.stack([MEAN, STD], 1)
    x, x0, grad = batch((2, 3, 5, 7), 8)
    keys, row = torch.tensor([3, 4]), torch.tensor([0.01, 0.02])
    for mean, std in ((table[:, 0], table[:, 1]), (MEAN[:1].expand(3), STD[:1].expand(3))):
        packed, given = Normalisation(mean.clone(), std.clone()), Normalisation(mean, std)
        step = (x, x0, grad, 0.01, 0.05)
        same(linf_step.launch(*step, given, block=BLOCK), reference.linf_step(*step, packed))
        same(l2_step.launch(*step, given, block=BLOCK), reference.l2_step(*step, packed), exact=False)
        apgd = (x, x, x, x0, grad, grad, None, row, row, 0.05)
        same(apgd_step.launch(*apgd, given, block=BLOCK), reference.apgd_step(*apgd, packed), exact=False)
        same([normalize.launch(x, given, block=BLOCK)], [reference.normalize(x, packed)])
        got, wanted = start.launch(x0, keys, 1, 2, 0.03, given), reference.start(x0, keys, 1, 2, 0.03, "linf", packed)
        torch.testing.assert_close(got[1], wanted[1], rtol=0, atol=1e-6)


def main() -> None:
    torch.set_num_threads(1)
    for name in CHOSEN or CASES:
        try:
            CASES[name]()
            wrong = ""
        except Exception as error:  # reported to the test of this name, which fails with it
            wrong = f"{type(error).__name__}: {error}"
        print(json.dumps([name, wrong]), flush=True)


if __name__ == "__main__":
    sys.exit(main())

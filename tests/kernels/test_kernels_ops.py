"""The registered ops: `opcheck`, gradients, compilation, and what importing them costs those who do not use them."""

import subprocess
import sys

import pytest
import torch

import zsr_kernels
from zsr_kernels import Normalisation, reference

MEAN, STD = torch.tensor([0.48, 0.46, 0.41]), torch.tensor([0.27, 0.26, 0.28])


def batch(uint8=False, grad=torch.float32):
    g = torch.Generator().manual_seed(0)
    x0 = torch.rand(2, 3, 4, 5, generator=g)
    x = (x0 + 0.01).clamp(0, 1)
    x0 = (x0 * 255).to(torch.uint8) if uint8 else x0
    return x, x0, torch.randn(2, 3, 4, 5, generator=g).to(grad)


def steps():
    one = torch.tensor([0.01])
    for uint8, grad, stats in ((False, torch.float32, (MEAN, STD)), (True, torch.float16, (None, None))):
        x, x0, g = batch(uint8, grad)
        yield "linf_step", (x, x0, g, one, 2 * one, *stats, torch.float16)
        yield "l2_step", (x, x0, g, torch.tensor([0.1, 0.2]), one, *stats, torch.float32)
        yield "l1_step", (x, x0, g, one, one, *stats, torch.float32, 0.1)
        restore = torch.tensor([True, False]) if uint8 else None
        rows = torch.tensor([0.75, 1.0])
        for norm in ("linf", "l2"):
            apgd = (x, x.clone(), x.clone(), x0, g, g.clone(), restore, rows, rows, one, norm, *stats, torch.float32)
            yield "apgd_step", apgd
        yield "start", (x0, torch.tensor([3, 4]), 1, 2, 0.03, "linf", *stats, torch.float32)
        loss, rises = torch.tensor([1.0, 2.0]), torch.zeros(2, dtype=torch.int64)
        yield "apgd_track", (x, g, loss, x.clone(), g.clone(), loss.flip(0), loss.clone(), rises)
    x, x0, g = (t.to(memory_format=torch.channels_last) for t in batch())  # Triton writes contiguous tensors
    yield "linf_step", (x, x0, g, one, one, MEAN, STD, torch.float16)
    yield "linf_step", (x, x0, g, one, one, None, None, torch.float32)
    yield "apgd_step", (x, x0, x0, x0, g, g, None, rows, rows, one, "linf", None, None, torch.float32)
    yield "start", (x0, torch.tensor([3, 4]), 1, 2, 0.03, "linf", None, None, torch.float32)
    yield "normalize", (x, MEAN, STD, torch.float16)
    yield "normalize", (batch()[0].requires_grad_(), MEAN, STD, torch.float32)
    yield "normalize", (batch(True)[1], MEAN, STD, torch.float16)
    x, x0, g = (t[:0] for t in batch())  # nobody: memory of nothing is nowhere, and that twice
    yield "linf_step", (x, x0, g, one, one, None, None, torch.float32)
    yield "apgd_step", (x, x0, x0, x0, g, g, None, rows[:0], rows[:0], one, "linf", None, None, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name, arguments", list(steps()), ids=[f"{k}-{n}" for k, (n, _) in enumerate(steps())])
def test_opcheck(name, arguments):
    import zsr_kernels.ops as ops

    torch.library.opcheck(getattr(ops, name), arguments)


@pytest.mark.parametrize("name, arguments", list(steps())[:3], ids=["linf", "l2", "l1"])
def test_an_op_is_its_function(name, arguments):
    import zsr_kernels.ops as ops

    *first, mean, std, dtype = arguments[:8]
    given = (*first, Normalisation(mean, std, dtype), *arguments[8:])
    for a, b in zip(getattr(ops, name)(*arguments), getattr(zsr_kernels, name)(*given), strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient and is not a double")
def test_normalize_backward_is_its_derivative():
    import zsr_kernels.ops as ops

    x = batch()[0].requires_grad_()
    # float32 and a linear function: a coarse difference is exact enough
    torch.autograd.gradcheck(
        lambda v: ops.normalize(v, MEAN, STD, torch.float32), (x,), eps=0.5, atol=1e-3, rtol=1e-3, nondet_tol=0
    )
    (g,) = torch.autograd.grad(ops.normalize(x, MEAN, STD, torch.float32).sum(), x)
    torch.testing.assert_close(g, reference.normalize_backward(torch.ones_like(x), STD))


def test_a_step_compiles_in_one_graph():
    import zsr_kernels.ops as ops

    x, x0, g = batch()
    one = torch.tensor([0.01])

    def two_steps(x):
        for _ in range(2):
            x, _ = ops.linf_step(x, x0, g, one, one, MEAN, STD, torch.float32)
        return x

    assert torch.equal(torch.compile(two_steps, fullgraph=True, backend="aot_eager")(x), two_steps(x))


def test_importing_the_attacks_imports_nothing_heavy():
    heavy = "torch._dynamo", "torch._inductor", "triton", "pandas", "torchvision", "scipy", "open_clip", "sympy"
    code = f"""
import sys, torch
before = set(sys.modules)
import zsr.attacks, zsr_kernels
from zsr.attacks import attack, perturb
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
x = torch.rand(3, 3, 2, 2)
for name in ("pgd", "apgd-ce", "square"):
    attack(net, x, net(x).argmax(1), name, eps=0.1, **({{"queries": 3}} if name == "square" else {{"steps": 3}}))
perturb(net, x, lambda z: z.sum(1), eps=0.1, steps=1, step_size=0.1, keys=torch.arange(3))
new = set(sys.modules) - before
print(sorted(m for m in new if m in {heavy!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_works_without_triton():
    code = """
import sys
sys.modules["triton"] = None  # importing it raises ImportError
import torch, zsr_kernels
x = torch.rand(2, 3, 4, 4)
y, net = zsr_kernels.linf_step(x, x, torch.randn_like(x), 0.01, 0.02)
assert ((y - x).abs() <= 0.01 + 1e-6).all()
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_cuda_without_triton_is_an_error_unless_the_reference_is_asked_for(monkeypatch):
    from zsr_kernels import dispatch

    monkeypatch.setattr(dispatch, "triton_installed", lambda: False)
    cuda = torch.device("cuda")
    with pytest.raises(zsr_kernels.KernelError, match=r"Triton is not installed.*kernels='reference'"):
        dispatch.use_triton(cuda)
    assert dispatch.use_triton(cuda, "reference") is False
    monkeypatch.setattr(dispatch, "triton_installed", lambda: True)
    assert dispatch.use_triton(cuda) is True
    assert dispatch.use_triton(torch.device("cpu")) is False
    with pytest.raises(zsr_kernels.KernelError, match="needs a CUDA device"):
        dispatch.use_triton(torch.device("cpu"), "triton")
    with pytest.raises(zsr_kernels.KernelError, match="known: auto"):
        dispatch.use_triton(torch.device("cpu"), "cuda")

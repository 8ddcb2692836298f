"""The Triton kernels through the compiler, which refuses and rounds where the interpreter does not; no GPU needed."""

import ast
import json
import os
import subprocess
import sys

import pytest
from support.project import ROOT, needs_triton

PER_THREAD = 1024 // 128  # elements: a block of the launchers over four warps

pytestmark = needs_triton


@pytest.fixture(scope="module")
def builds() -> list[tuple[str, str, dict[str, int]]]:
    """(kernel, target, floating-point instructions of its PTX), built in a process that has not been interpreting."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
    environment = plain | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "support" / "kernel_builds.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def launched() -> set[str]:
    """file.function of every `function[grid](…)` in the launchers."""
    used = set()
    for path in (ROOT / "zsr_kernels" / "cuda").glob("*.py"):
        calls = [
            node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ]
        used |= {f"{path.stem}.{f.value.id}" for f in calls if isinstance(f, ast.Subscript)}
    return used


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_every_kernel_becomes_machine_code(target, builds):
    assert {kernel for kernel, for_target, _ in builds if for_target == target} == launched()


def test_clamps_keep_nan(builds):
    clamps = {(kernel, op) for kernel, _, ops in builds for op in ops if op.startswith(("max.", "min."))}
    assert {kernel for kernel, _ in clamps} == {"linf_step.kernel", "apgd_step.kernel", "start.kernel", "l2_step.apply"}
    assert all(".NaN." in op for _, op in clamps), clamps


def test_pixels_are_divided_as_on_the_cpu(builds):
    """Correctly rounded, denormals kept; but for the unit gradient of the L2 step, which is equal up to rounding."""
    for kernel, _, ops in builds:
        allowed = {"div.rn.f32", "div.full.f32"} if kernel.startswith("l2_step") else {"div.rn.f32"}
        assert {op for op in ops if op.startswith(("div", "rcp", "sqrt", "rsqrt"))} <= allowed, (kernel, ops)
        assert not [op for op in ops if "ftz" in op or "approx" in op]


def test_what_is_bit_equal_contracts_nothing_that_rounds(builds):
    """`linf_step`: one multiply-add per element, x + step * sign(g), whose product is exact. `normalize`: none."""
    exact = {"linf_step.kernel": PER_THREAD, "normalize.kernel": 0, "apgd_track.kernel": 0}
    for kernel, _, ops in builds:
        if kernel in exact:
            assert ops.get("fma.rn.f32", 0) == exact[kernel], kernel

"""The Triton kernels without a GPU: in the interpreter, against the reference; and what it cannot show, in the text."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT, needs_triton

KERNELS = sorted((ROOT / "zsr_kernels" / "cuda").glob("*.py"))
SCRIPT = ROOT / "tests" / "support" / "kernel_cases.py"
NAMES = [
    node.name
    for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef)
    and any(isinstance(d, ast.Name) and d.id == "case" for d in node.decorator_list)
]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """All cases, run once in a process of their own: the interpreter cannot be switched on in this one."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("name", NAMES)
def test_interpreted(name, outcomes):
    assert outcomes[name] == ""


def calls(path: Path, names: set[str]) -> list[ast.Call]:
    """Calls of tl.<name> in a file."""
    all_calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    return [n for n in all_calls if isinstance(n.func, ast.Attribute) and n.func.attr in names and _is_tl(n.func.value)]


def _is_tl(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "tl"


def test_every_minimum_and_maximum_propagates_nan():
    """Triton 3.6's interpreter propagates NaN by default, the compiler does not: only the text can be tested here."""
    clamps = [(p.name, c) for p in KERNELS for c in calls(p, {"minimum", "maximum", "clamp"})]
    assert len(clamps) >= 4
    for name, call in clamps:
        flags = [k for k in call.keywords if k.arg == "propagate_nan"]
        assert flags and ast.unparse(flags[0].value) == "tl.PropagateNan.ALL", f"{name}:{call.lineno}"


def test_every_load_that_enters_arithmetic_is_widened():
    """Loads of gradients may be half precision: `.to(tl.float32)` before anything else (the copy of a row may stay)."""
    for path in KERNELS:
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            if "tl.load(g " in line or "tl.load(g_best " in line:
                assert ".to(tl.float32)" in line or "tl.store(" in line, f"{path.name}: {line.strip()}"


def test_normalisation_divides_as_the_cpu_does():
    """`/` on a GPU is not the IEEE division; the kernels divide by std and by 255 with div_rn."""
    common = next(p for p in KERNELS if p.name == "common.py")
    assert len(calls(common, {"div_rn"})) == 2


def test_no_kernel_adds_atomically():
    """Atomics add in another order each time: verdicts would not be reproducible."""
    assert not [c for p in KERNELS for c in calls(p, {"atomic_add", "atomic_max", "atomic_min"})]

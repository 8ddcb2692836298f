"""The direction of imports: each package names what it may import, nothing runs in circles, the plan needs no torch."""

import subprocess
import sys

import pytest
from support.import_graph import circles, imports, packages
from support.project import ROOT

GRAPH = imports(ROOT)
BETWEEN = packages(GRAPH)
GROUND = {"errors", "epsilon", "env_paths", "hashing", "registry", "progress", "guard", "storage"}
MAY_IMPORT: dict[str, set[str]] = {
    "zsr": {"guard"},
    "__main__": {"cli"},
    "errors": set(),
    "progress": set(),
    "epsilon": {"errors"},
    "hashing": {"errors"},
    "registry": {"errors"},
    "guard": {"errors"},
    "env_paths": {"errors", "guard"},
    "storage": {"errors", "hashing", "registry", "env_paths"},
    "zsr_kernels": set(),
    "data": GROUND,
    "models": GROUND,
    "config": GROUND | {"data", "models"},
    "plan": GROUND | {"config", "data", "models"},
    "jobs": GROUND | {"plan"},
    "attacks": GROUND | {"models", "zsr_kernels"},
    "methods": GROUND | {"attacks", "models"},
    "training": GROUND | {"methods", "models", "data", "jobs"},
    "evaluation": GROUND | {"attacks", "models"},
    "results": GROUND | {"plan", "data", "evaluation", "methods", "models"},
    "checks": GROUND | {"plan", "data", "models", "results"},
    "report": GROUND,
    "export": GROUND | {"methods", "models", "report"},
    "cli": GROUND | {"config", "plan", "data", "models", "results", "checks", "report", "export"},
}


def test_every_package_says_what_it_may_import() -> None:
    assert BETWEEN.keys() == MAY_IMPORT.keys()


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_what_it_may(package: str) -> None:
    assert BETWEEN[package] <= MAY_IMPORT[package]


def test_the_contract_itself_has_a_direction() -> None:
    assert not circles(MAY_IMPORT)


def test_no_module_imports_itself_in_a_circle() -> None:
    assert not circles(GRAPH)


def test_few_modules_lie_at_the_top() -> None:
    """A stranger looks there first."""
    assert len(list((ROOT / "zsr").glob("*.py"))) <= 8


def test_a_circle_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_the_plan_needs_no_torch() -> None:
    """Snakemake parses the rules again for each job of a cluster, and torch would cost two seconds each time."""
    rules = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    lines = {line for line in rules.splitlines() if line.startswith("from zsr")}
    names = {line.split()[1] for line in lines}
    names |= {name for name in GRAPH if name.startswith(("zsr.config.", "zsr.plan."))}
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print([name for name in ('torch', 'pandas', 'open_clip') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *sorted(names)], cwd=ROOT, capture_output=True, text=True)
    assert len(names) > 25 and done.stdout.strip() == "[]", done.stdout + done.stderr

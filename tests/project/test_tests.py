"""The tests themselves: files that can be read in one go, and no test module that imports another one."""

import ast
from pathlib import Path

from support.project import ROOT

MOST_LINES = 400
FILES = sorted((ROOT / "tests").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The last part of the name of each module that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.rpartition(".")[2] for name in names}


def test_no_file_is_long():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}, "split them by subject"


def test_no_test_module_imports_another_one():
    modules = {path.stem for path in FILES if path.stem.startswith("test_")}
    found = {path.name: imported(path) & modules for path in FILES}
    assert {name: names for name, names in found.items() if names} == {}, "move what they share to tests/support/"


def test_every_test_module_has_a_name_of_its_own():
    stems = [path.stem for path in FILES if path.stem.startswith("test_")]
    assert len(stems) == len(set(stems)), "pytest imports them by their bare names"

"""Text is UTF-8 in every locale: Python's default for files and for output follows the locale."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from zsr.registry import ROOT

SOURCES = [
    path for name in ("zsr", "zsr_kernels", "workflow", "tests", "benchmarks") for path in (ROOT / name).rglob("*.py")
]
C_LOCALE = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
DIGESTS = """
import json, sys
from pathlib import Path
from zsr.config.text import read
from zsr.plan.plan import Plan
plan = Plan(read(Path(sys.argv[1])))
print(json.dumps([[job.record, job.hash] for job in plan.jobs.values()]))
"""


def without_encoding(path: Path) -> list[str]:
    """Calls that read or write text in the locale's encoding."""
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if not isinstance(node, ast.Call) or any(key.arg == "encoding" for key in node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        reads = name == "read_text" and not node.args
        writes = name == "write_text" and len(node.args) == 1
        mode = next((key.value for key in node.keywords if key.arg == "mode"), None)
        mode = mode or next((a for a in node.args if isinstance(a, ast.Constant) and str(a.value)[:1] in "rwax"), None)
        text = isinstance(mode, ast.Constant) and len(str(mode.value)) < 4 and "b" not in str(mode.value)
        bare = isinstance(node.func, ast.Name) and len(node.args) == 1
        if reads or writes or (name == "open" and (text or bare) and "tarfile" not in ast.unparse(node)):
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_the_check_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(
        "p.read_text()\np.write_text(x)\np.open('w')\nopen(p)\nopen(p, 'rb')\nread_text(p)\n", encoding="utf-8"
    )
    assert [line.split(":")[1] for line in without_encoding(path)] == ["1", "2", "3", "4"]


def test_no_text_is_read_or_written_in_the_locales_encoding():
    assert [line for path in SOURCES for line in without_encoding(path)] == []


def test_the_plan_is_the_same_in_a_locale_without_utf8():
    """158 of 169 jobs had another spec there."""
    command = [sys.executable, "-c", DIGESTS, "config.yaml"]
    plans = [
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True, env={**os.environ, **more}).stdout
        for more in ({}, C_LOCALE)
    ]
    assert plans[0] == plans[1]


def test_the_command_prints_in_a_locale_without_utf8():
    done = subprocess.run(
        [sys.executable, "-c", "from zsr.cli import main; main()", "table", "--help"],
        cwd=ROOT,
        capture_output=True,
        env={**os.environ, **C_LOCALE},
        check=True,
    )
    assert "ε" in done.stdout.decode(), done.stderr.decode()

"""Two checkouts and one environment: the results of one are not judged by the code of the other."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT, Project, refused

from zsr.checks.checkout import checkout_of, refuse_other_checkout
from zsr.cli import COMMANDS, main

MESSAGE = "is another checkout of zsr, and the code that runs is that of"
NEEDS = {"why": ["results/report.html"], "table": [], "data": ["check"], "export": ["models"]}


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """As little as makes a checkout."""
    (tmp_path / "other" / "zsr").mkdir(parents=True)
    (tmp_path / "other" / "zsr" / "__init__.py").touch()
    (tmp_path / "other" / "Snakefile").touch()
    shutil.copy2(ROOT / "config.yaml", tmp_path / "other")
    (tmp_path / "other" / "deep" / "down").mkdir(parents=True)
    return tmp_path / "other"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_another_checkout(other, command, monkeypatch):
    monkeypatch.chdir(other)
    with pytest.raises(SystemExit) as ended:
        main([command, *NEEDS.get(command, [])])
    said = str(ended.value)
    assert f"zsr: {other} {MESSAGE} {ROOT}; run `python -m zsr …`" in said and "\n" not in said


def test_a_folder_of_another_checkout_and_a_config_there(other, tmp_path, monkeypatch):
    monkeypatch.chdir(other / "deep" / "down")
    with refused(MESSAGE):
        refuse_other_checkout(Path.cwd())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=MESSAGE):
        main(["--configfile", "other/config.yaml", "status"])


def test_this_checkout_and_no_checkout_are_fine(other, tmp_path):
    refuse_other_checkout(ROOT, ROOT / "docs", tmp_path)
    (tmp_path / "link").symlink_to(ROOT)
    refuse_other_checkout(tmp_path / "link" / "config")
    assert checkout_of(tmp_path) is None
    assert checkout_of(other / "deep") == other


@pytest.mark.slow
def test_snakemake_refuses_the_library_of_another_checkout(project: Project):
    """As where a plugin has imported the installed zsr before the Snakefile puts its own folder first."""
    code = "import zsr.registry; from snakemake.cli import main; main(['-n', '--cores', '1'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=project.folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{project.folder} {MESSAGE} {ROOT}" in done.stdout and "Traceback" not in done.stdout


@pytest.mark.slow
def test_snakemake_refuses_a_working_directory_in_another_checkout(project: Project, other):
    said = project.run("snakemake", "-n", "--directory", str(other), code=1)
    assert f"{other} {MESSAGE} {project.folder}" in said and "Traceback" not in said

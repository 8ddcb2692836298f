"""Copies of the project to change, small configs, and what many tests ask in the same way."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from zsr.errors import ZsrError

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "zsr", "zsr_kernels", "envs", "resources")
MINI = ROOT / "tests" / "mini.yaml"

# PyTorch brings it on Linux alone; a GPU is not needed
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


class Project:
    """A checkout of its own, in which sources and config may be changed and Snakemake run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """A file of the project."""
        return self.folder / name

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that must stand there exactly once."""
        text = self.path(name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name}: {old!r} stands {text.count(old)} times"
        self.path(name).write_text(text.replace(old, new), encoding="utf-8")

    @property
    def config(self) -> dict:
        """The config as it stands."""
        return yaml.safe_load(self.path("config.yaml").read_text(encoding="utf-8"))

    def configure(self, config: dict) -> None:
        """Write another config."""
        self.path("config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def run(self, *arguments: str, code: int | None = 0, env: dict | None = None) -> str:
        """Run a command of this Python's environment in the project; returns stdout and stderr together."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), **(env or {})},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=1500,
        )
        if code is not None:
            assert done.returncode == code, (
                f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-6000:]}"
            )
        return done.stdout

    def snakemake(self, *arguments: str, code: int | None = 0, env: dict | None = None) -> str:
        """Run Snakemake on two cores."""
        return self.run("snakemake", "--cores", "2", *arguments, code=code, env=env)

    def zsr(self, *arguments: str, code: int | None = 0) -> str:
        """Run the command `zsr`."""
        return self.run("zsr", *arguments, code=code)


def copy_project(folder: Path) -> Project:
    """The sources of this checkout, without results."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=ignore)
        else:
            shutil.copy2(source, folder / part)
    return Project(folder)


def load_benchmark(name: str) -> ModuleType:
    """benchmarks/NAME.py, which is no package."""
    found = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def assert_runs(code: str, folder: Path) -> None:
    """A Python of its own, which has imported nothing yet, runs the code in `folder` without an error."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0


@contextmanager
def refused(message: str) -> Iterator[pytest.ExceptionInfo]:
    """What stands inside is a mistake, and the error is one line that matches."""
    with pytest.raises(ZsrError, match=message) as caught:
        yield caught
    assert "\n" not in str(caught.value)

"""Shared fixtures: a copy of the project to change, and small configs."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from support.project import MINI, Project, copy_project


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that runs Snakemake is slow: these fixtures copy a project to run it."""
    for item in items:
        if not {"finished", "project"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The miniature DAG, run to its end; once, also where several processes share the tests."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with FileLock(base / "finished.lock"):
        project = Project(base / "finished")
        if not (base / "finished.done").exists():
            shutil.rmtree(project.folder, ignore_errors=True)
            copy_project(project.folder)
            shutil.copy2(MINI, project.path("config.yaml"))
            project.snakemake()
            (base / "finished.done").touch()
    return project


@pytest.fixture
def copy(finished: Project, tmp_path: Path) -> Project:
    """The finished project with its results, memory and times."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True, copy_function=shutil.copy2)
    return Project(tmp_path / "project")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy with the miniature config."""
    made = copy_project(tmp_path / "project")
    shutil.copy2(MINI, made.path("config.yaml"))
    return made


@pytest.fixture
def mini() -> dict:
    """The miniature config, to be changed."""
    return yaml.safe_load(MINI.read_text(encoding="utf-8"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root, and no downloads."""
    monkeypatch.setenv("ZSR_DATA", str(tmp_path / "datasets"))
    monkeypatch.setenv("ZSR_RETRY_SECONDS", "0")
    monkeypatch.delenv("ZSR_DOWNLOAD", raising=False)
    return tmp_path / "datasets"

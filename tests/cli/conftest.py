"""Fixtures for calls of the command `zsr`: finished results, whole or to be damaged."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory) -> Path:
    """Finished results and their config, without the project's sources."""
    place = tmp_path_factory.mktemp("calls")
    shutil.copy2(finished.path("config.yaml"), place)
    shutil.copytree(finished.path("results"), place / "results", copy_function=shutil.copy2)
    (place / "file").write_text("a file", encoding="utf-8")
    (place / "folder").mkdir()
    return place


@pytest.fixture
def calls(whole, monkeypatch) -> Path:
    """The folder of the calls, which they leave as it is."""
    monkeypatch.chdir(whole)
    return whole


@pytest.fixture
def copies(whole, tmp_path, monkeypatch) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(whole, tmp_path / "copy", copy_function=shutil.copy2)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"

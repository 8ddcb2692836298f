"""Reads the files of zsr/data/sets/, which define the known datasets: classes, archives, links, advice."""

from functools import cache
from pathlib import Path

import yaml

SETS = Path(__file__).resolve().parent / "sets"


@cache
def set_file(name: str) -> dict:
    """One file. `like` takes every key that it does not give itself from another file; `more_files` are added."""
    content = yaml.safe_load((SETS / f"{name}.yaml").read_text(encoding="utf-8"))
    base = set_file(content["like"]) if "like" in content else {}
    folder = base.get("folder", name)
    more = content.pop("more_files", [])
    content = {"folder": folder, **base, **content, "set": name}
    return {**content, "files": [*content.get("files", []), *more]}


@cache
def table(name: str) -> dict[str, list[str]]:
    """column -> values of a tab-separated file of zsr/data/sets/."""
    head, *rows = (line.split("\t") for line in (SETS / name).read_text(encoding="utf-8").splitlines())
    return {column: [row[i] for row in rows] for i, column in enumerate(head)}


def names_of(about: dict) -> list[list[str]]:
    """Every list of names that a set's file has for its classes."""
    classes = about.get("classes", [])
    if isinstance(classes, list):
        return [classes]
    return [values for column, values in table(classes).items() if column != "key"]

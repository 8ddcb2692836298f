"""The pinned packages of the environments in envs/."""

from functools import cache

import yaml

from zsr.hashing import canonical, short_hash
from zsr.registry import ROOT


@cache
def environment(name: str) -> str:
    """The hash of the pins in envs/<name>.yaml; comments and order do not count."""
    return short_hash(canonical(pins(name)))


@cache
def pins(name: str) -> dict[str, str]:
    """package -> version of an environment file (pip pins and conda pins alike)."""
    path = ROOT / "envs" / f"{name}.yaml"
    found: dict[str, str] = {}
    for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]:
        for pin in entry["pip"] if isinstance(entry, dict) else [entry]:
            package, _, version = pin.replace("==", "=").partition("=")
            found[package.strip()] = version.strip()
    return found

"""An environment with the packages of a bare GPU machine alone: a venv of links to what is installed here.

These are PACKAGES with all that they require: no Snakemake, no open_clip, no package for comparison.
"""

import sys
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PACKAGES = ("torch", "triton", "numpy", "scipy", "pandas", "pyarrow", "safetensors", "timm")
ABSENT = ("snakemake", "open_clip", "pyautoattack", "torchattacks", "jsonschema", "zsr")


def make(folder: Path) -> Path:
    """The environment's Python."""
    venv.create(folder, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for package in closure(PACKAGES):
        for entry in top_level(package):
            link = site / entry
            if not link.exists():
                link.symlink_to(package.locate_file(entry))
    return folder / "bin" / "python"


def closure(names: tuple[str, ...]) -> list[Distribution]:
    """These distributions and all that they require on this machine."""
    found: dict[tuple[str, frozenset], Distribution] = {}
    queue = [Requirement(name) for name in names]
    while queue:
        wanted = queue.pop()
        key = wanted.name.lower().replace("_", "-"), frozenset(wanted.extras)
        if key in found:
            continue
        try:
            found[key] = distribution(wanted.name)
        except PackageNotFoundError:  # required under a condition of another platform
            continue
        for text in found[key].requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ("", *wanted.extras)):
                queue.append(needed)
    return list(found.values())


def top_level(package: Distribution) -> set[str]:
    """What a distribution puts into site-packages."""
    return {path.parts[0] for path in package.files if path.parts[0] not in ("..", "__pycache__")}


def repack(name: str, folder: Path) -> Path:
    """The wheel of an installed package that is pure Python."""
    package = distribution(name)
    wheel = folder / f"{package.name.replace('-', '_')}-{package.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in package.files:
            if ".." not in path.parts and path.suffix != ".pyc":
                archive.write(package.locate_file(path), str(path))
    return wheel

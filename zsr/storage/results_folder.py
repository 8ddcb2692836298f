"""Checks which folder may hold the results, and marks one that zsr made.

A run writes into this folder and `zsr prune --delete` deletes from it, so it must not be a folder of the checkout, of
Git or of Snakemake, nor one that holds the checkout or the home folder. Paths are compared after their symlinks.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from zsr.env_paths import expand
from zsr.errors import ZsrError, short, system_error
from zsr.registry import ROOT
from zsr.storage import layout
from zsr.storage.records import read_record, replacing

MARKER = ".zsr"
SAYS = "This folder was made by zsr for its results; `zsr prune --delete` deletes those that no config asks for.\n"
WILDCARDS = re.compile(r"[{}*?\x00-\x1f]")
PATTERNS = sorted({pattern for files in layout.OUTPUTS.values() for pattern in files.values()})
LOGS = ("logs", "benchmarks")  # what is there before the first result: SLURM's logs come before the marker
NAMES = {*LOGS, MARKER, *(pattern.split("/")[0] for pattern in PATTERNS)}


def results_folder(text: str, where: str = "results") -> str:
    """The one spelling of a results folder, without variables; refused where results must not lie."""
    folder = expand(text, where)
    if not folder or folder != folder.strip() or WILDCARDS.search(folder):
        raise ZsrError(
            f"{where}: {short(repr(folder))} is no name of a folder; write a path without braces, *, ?, line ends and "
            "blanks around it"
        )
    folder = os.path.normpath(folder).replace("//", "/")  # POSIX keeps two slashes at the beginning
    if not set(Path(folder).parts) - {".."}:
        raise ZsrError(f"{where}: '{folder}' holds more than results; name a folder for them alone, such as `results`")
    try:
        for path in {Path(os.path.abspath(folder)), Path(folder).resolve()}:
            _refuse_parents(path, where)
            _refuse_internals(path, where)
            _refuse_sources(path, where)
    except (OSError, RuntimeError) as error:  # too long a name, no permission, symlinks in a circle
        raise system_error(f"{where}: {short(folder)}", error, "", "cannot be used") from error
    return folder


def _refuse_parents(path: Path, where: str) -> None:
    """Not `/` nor the home folder: a folder that holds the checkout or the home; nor the working directory itself."""
    home = Path(os.path.expanduser("~"))
    holders = [("the checkout", [ROOT, *ROOT.parents]), ("the working directory", [Path.cwd()])]
    holders += [("your home", [*name.parents, name]) for name in (home, home.resolve()) if home.is_absolute()]
    for what, folders in holders:
        if path in folders:
            raise ZsrError(f"{where}: {path} holds {what}; name a folder for the results alone, such as `results`")


def _refuse_internals(path: Path, where: str) -> None:
    """Not inside `.git` or `.snakemake`, nor in a hidden folder of the checkout, such as `.venv`."""
    hidden = [part for part in path.parts if part in (".git", ".snakemake")]
    for base in (ROOT, Path.cwd()):
        if path.is_relative_to(base):
            hidden += [part for part in path.relative_to(base).parts if part.startswith(".")]
    if hidden:
        raise ZsrError(f"{where}: {path} lies in '{hidden[0]}'; name a folder for the results alone, such as `results`")


def _refuse_sources(path: Path, where: str) -> None:
    """Not a folder of the checkout, nor inside one: what is there and holds other things than results."""
    if not path.is_relative_to(ROOT):
        return
    inside = path.relative_to(ROOT)
    for part in reversed([inside, *inside.parents][:-1]):
        folder = ROOT / part
        if folder.is_dir() and not _for_results(folder):
            raise ZsrError(
                f"{where}: {folder} holds files that zsr did not make; name a fresh folder, such as `results`"
            )


def _for_results(folder: Path) -> bool:
    """Whether a folder of the checkout holds results alone, or nothing."""
    if is_marked(folder):
        return True
    names = os.listdir(folder)
    if all(name in NAMES or name.startswith(".") for name in names) or any(_records(folder)):
        return True
    names = [name for name in names if not name.startswith(".")]
    return all(is_marked(folder / name) for name in names)  # `out` with `out/first` and `out/second`


def is_marked(folder: Path) -> bool:
    """Whether zsr made a folder for its results."""
    return (folder / MARKER).is_file()


def mark(folder: Path) -> None:
    """Mark a folder that is new; one that had other files before stays without a marker."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {name for name in os.listdir(folder) if not name.startswith(".")}  # locks come before the marker too
        if not is_marked(folder) and names <= set(LOGS):
            with replacing(folder / MARKER) as temporary:
                temporary.write_text(SAYS, encoding="utf-8")
    except OSError as error:
        raise system_error(folder, error, "free space, or change `results`", "cannot be written") from error


def check_writable(folder: Path) -> None:
    """Refuse a results folder that cannot be made or written, before anything runs."""
    parent = nearest_existing(folder)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ZsrError(f"{folder}: cannot be written ({parent} is no folder that you may write to); change `results`")


def nearest_existing(path: Path) -> Path:
    """The path itself if it exists, else the nearest parent that does."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _records(folder: Path) -> Iterator[Path]:
    """The records in a folder whose seals are right."""
    for pattern in sorted({files["record"] for files in layout.OUTPUTS.values()}):
        for path in folder.glob(re.sub(r"\{\w+\}", "*", pattern)):
            if is_record(path):
                yield path


def is_record(path: Path) -> bool:
    """Whether a file is a record of zsr with a right seal."""
    try:
        read_record(path)
    except (ZsrError, OSError):
        return False
    return True

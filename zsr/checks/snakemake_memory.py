"""What Snakemake remembers of the outputs of a workflow: the files in `.snakemake/`, by the names that it gives them.

Snakemake keeps one file for each output. Its name is the output's path in base64; a name that is too long for the file
system is cut into folders that begin with @. Both directions of that rule are here.
"""

import base64
import json
import os
from functools import cache
from pathlib import Path

FOLDER = Path(".snakemake")
METADATA = FOLDER / "metadata"  # finished outputs, with the params that they were made with
INCOMPLETE = "incomplete"  # outputs that were begun and not finished
LOCKS = "locks"


def name_of_output(path: str) -> str:
    """The name of the file in which Snakemake remembers an output."""
    name = base64.urlsafe_b64encode(path.encode()).decode()
    most = longest_name()
    parts = [name[i : i + most] for i in range(0, len(name), most)]
    return os.path.join(*(f"@{part}" for part in parts[:-1]), parts[-1])


def output_of_name(name: Path) -> str:
    """The output that Snakemake remembers in the file of this name."""
    return base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in name.parts)).decode()


@cache
def longest_name() -> int:
    """The characters of a name in Snakemake's memory; it asks the file system, and leaves one for the @."""
    return (os.pathconf(METADATA if METADATA.is_dir() else ".", "PC_NAME_MAX") or 255) - 1


def remembered_params(file: Path) -> list[str] | None:
    """The params that Snakemake remembers of an output in this file; None if it remembers nothing."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))["params"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def unfinished_outputs(folder: Path = FOLDER) -> set[str]:
    """The outputs that Snakemake has begun and not finished, while it holds its lock.

    After a `kill -9` of Snakemake its markers and its lock stay until it runs again.
    """
    incomplete = folder / INCOMPLETE
    if not incomplete.is_dir() or not any((folder / LOCKS).glob("*.lock")):
        return set()
    files = (path for path in incomplete.rglob("*") if path.is_file())
    return {output_of_name(path.relative_to(incomplete)) for path in files}

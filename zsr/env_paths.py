"""Expands variables in the paths of a config (`$MY_DATA/cifar10/test.parquet`): each machine has its own folders.

A path is never part of a spec; what is in a file is named by its sha256, or checked where it is read.
"""

import os
import re
from pathlib import Path

from zsr.errors import ZsrError
from zsr.guard.watch import unwatched

VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)


def unset(text: str) -> str | None:
    """The first variable of a path that is not set, or set to nothing."""
    names = (braced or plain for braced, plain in VARIABLE.findall(text))
    with unwatched():  # where a file lies changes no number
        return next((name for name in names if not os.environ.get(name)), None)


def unset_error(text: str, name: str) -> ZsrError:
    """The error for a path with a variable that is not set."""
    rest = re.split(rf"\${{?{name}}}?/?", text)[-1]
    return ZsrError(f"the variable {name} is not set; set it to the folder that holds {rest}")


def expand(text: str, where: str = "") -> str:
    """The path without variables; `where` names the place of the config."""
    if name := unset(text):
        error = unset_error(text, name)
        raise ZsrError(f"{where}: {error}") if where else error
    return os.path.expanduser(os.path.expandvars(text))


def is_repository(text: str) -> bool:
    """Whether a text has the form of a repository of the hub, org/model."""
    return REPOSITORY.fullmatch(text) is not None


def path_of(text: str, where: str = "") -> Path:
    """As a path."""
    return Path(expand(text, where))

"""Starts the watch in a job's process, before its script is loaded."""

import os
import struct
import sys
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from types import ModuleType

from zsr.errors import ZsrError
from zsr.guard.environment import Environment
from zsr.guard.watch import WATCH, is_unwatched

# loaded before the finder of from_source.py is in place
FIRST = ("workflow", "workflow.scripts", "zsr", "zsr.guard", "zsr.guard.watch", "zsr.guard.from_source", "zsr.errors")


def watch_job() -> None:
    """Watch this process from here on; called by `workflow/scripts/__init__.py`."""
    if WATCH.on or not (sys.argv[:1] == ["-m"] or is_child()):
        return
    WATCH.on = True
    for name in FIRST:
        if name in sys.modules:
            check_first(sys.modules[name])
    sys.addaudithook(audit)
    os.environ.__class__ = Environment


def is_child() -> bool:
    """Whether another process of Python has started this one, by multiprocessing's spawn."""
    return "--multiprocessing-fork" in sys.orig_argv


def check_first(module: ModuleType) -> None:
    """Note a module that Python loaded in its own way, and whether its bytecode was that of its source."""
    path, spec = module.__file__, module.__spec__
    if path is None or spec is None:
        raise ZsrError(f"{module.__name__}: was not imported from a file; run the job from a checkout")
    cached = spec.cached
    with open(path, "rb") as file:
        data = file.read()
    WATCH.imports(path, data)
    if not (cached and os.path.isfile(cached)):
        return
    with open(cached, "rb") as file:
        flags, time, size = struct.unpack("<4xLLL", file.read(16))
        taken = flags == 0 and (time, size) == (int(os.stat(path).st_mtime) & 0xFFFFFFFF, len(data) & 0xFFFFFFFF)
    if taken:
        name = module.__name__
        compiled = SourcelessFileLoader(name, cached).get_code(name)
        if compiled != SourceFileLoader(name, path).source_to_code(data, path):
            WATCH.faults.append(f"{cached}: is not the bytecode of {path}; remove it, then run snakemake again")


def audit(event: str, arguments: tuple) -> None:
    """The audit hook: every file that Python code opens, every library that it loads."""
    if event == "open" and not is_unwatched():
        WATCH.opens(*arguments)
    elif event == "ctypes.dlopen" and not is_unwatched():
        WATCH.opens(arguments[0], "rb", 0)

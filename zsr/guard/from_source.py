"""Imports the project's modules from their source and notes their bytes; bytecode is neither read nor written."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from zsr.guard.watch import ROOT, WATCH, is_unwatched, of_project, unwatched

if TYPE_CHECKING:
    from importlib.abc import Loader

PACKAGES = ("zsr", "zsr_kernels", "workflow")
P = ParamSpec("P")
R = TypeVar("R")
# Functions of libraries whose first argument is a file that compiled code opens, unseen by Python's audit.
OPENERS = {"safetensors": ("safe_open",), "pyarrow.parquet.core": ("ParquetFile", "read_table", "read_metadata")}


class FromSource(SourceFileLoader):
    """Compiles a module from its source, whose bytes it notes."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        with unwatched():
            data = self.get_data(path)
        WATCH.imports(path, data)
        return self.source_to_code(data, path)


class Finder:
    """Finds modules as Python does; those of the project get the loader above."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not WATCH.on and name.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None:
            return None
        origin = spec.origin if spec.has_location else None
        if type(spec.loader) is SourceFileLoader and of_project(spec.loader.path) is not None:
            spec.loader = FromSource(spec.loader.name, spec.loader.path)
            spec.cached = None
        elif WATCH.on and origin is not None and of_project(origin) is not None:
            with unwatched(), open(origin, "rb") as file:  # compiled, or found in another way
                data = file.read()
            WATCH.imports(origin, data)
        elif WATCH.on and spec.loader is not None and name in OPENERS:
            spec.loader = Reporting(spec.loader)  # type: ignore[assignment]  # a loader without the base class
        return spec


class Reporting:
    """Loads a library that opens files in compiled code, and wraps its functions so that they report the files."""

    def __init__(self, loader: "Loader") -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        for name in OPENERS[module.__name__]:
            opener = getattr(module, name)
            if isinstance(opener, type) and "__init__" in vars(opener):
                opener.__init__ = reporting(opener.__init__, at=1)  # type: ignore[misc]  # of this very class
            else:
                setattr(module, name, reporting(opener))


def reporting(opener: Callable[P, R], at: int = 0) -> Callable[P, R]:
    """The same function, which first reports the file that it opens: its argument number `at`."""

    @wraps(opener)
    def opened(*arguments: P.args, **keys: P.kwargs) -> R:
        if not is_unwatched():
            WATCH.opens(arguments[at] if len(arguments) > at else next(iter(keys.values()), None), "rb", 0)
        return opener(*arguments, **keys)

    return opened


def import_from_source() -> None:
    """Put the finder in place, once for each process; not where the package is installed without its checkout."""
    if Finder not in sys.meta_path and os.path.isfile(os.path.join(ROOT, "Snakefile")):
        sys.meta_path.insert(0, Finder)

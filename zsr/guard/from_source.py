"""The project's modules, compiled from their source and noted; bytecode is neither read nor written."""

import os
import sys
from functools import wraps
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

from zsr.guard.watch import ROOT, WATCH, is_unwatched, of_project, unwatched

PACKAGES = ("zsr", "zsr_kernels", "workflow")
# Functions of libraries whose first argument is a file that compiled code opens, unseen by Python's audit.
OPENERS = {"safetensors": ("safe_open",), "pyarrow.parquet.core": ("ParquetFile", "read_table", "read_metadata")}


class FromSource(SourceFileLoader):
    """Compiles the source that it keeps; bytecode is neither read nor written."""

    def get_code(self, fullname: str):
        path = self.get_filename(fullname)
        with unwatched():
            data = self.get_data(path)
        WATCH.imports(path, data)
        return self.source_to_code(data, path)


class Finder:
    """Finds modules as Python does, and gives those of the project the loader above."""

    @staticmethod
    def find_spec(name: str, path=None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not WATCH.on and name.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader and of_project(spec.loader.path) is not None:
            spec.loader = FromSource(spec.loader.name, spec.loader.path)
            spec.cached = None
        elif WATCH.on and spec is not None and spec.has_location and of_project(spec.origin) is not None:
            with unwatched(), open(spec.origin, "rb") as file:  # compiled, or found in another way
                data = file.read()
            WATCH.imports(spec.origin, data)
        elif WATCH.on and spec is not None and name in OPENERS:
            spec.loader = Reporting(spec.loader)
        return spec


class Reporting:
    """Loads a library that opens files in compiled code, where no audit event is raised, and lets it say which."""

    def __init__(self, loader) -> None:
        self.loader = loader

    def __getattr__(self, name: str):
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        for name in OPENERS[module.__name__]:
            opener = getattr(module, name)
            if isinstance(opener, type) and "__init__" in vars(opener):
                opener.__init__ = reporting(opener.__init__, at=1)
            else:
                setattr(module, name, reporting(opener))


def reporting(opener, at: int = 0):
    """The same function, which first says what it opens: its argument number `at`."""

    @wraps(opener)
    def opened(*arguments, **keys):
        if not is_unwatched():
            WATCH.opens(arguments[at] if len(arguments) > at else next(iter(keys.values()), None), "rb", 0)
        return opener(*arguments, **keys)

    return opened


def import_from_source() -> None:
    """Once for each process, by `zsr/__init__.py`; not where the package is installed without its checkout."""
    if Finder not in sys.meta_path and os.path.isfile(os.path.join(ROOT, "Snakefile")):
        sys.meta_path.insert(0, Finder)

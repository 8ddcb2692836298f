"""What a process really runs and reads of the project: from the source, watched, and nothing outside the fingerprint.

The fingerprint of a job's code (zsr/provenance.py) is what its imports say. Here the job itself is held to it:

- The project's modules are compiled from their source, never from bytecode: a `.pyc` whose source has the same size and
  time as another (`cp -p`, `rsync -t`, images with constant times) would run old code under a new fingerprint.
- The bytes that were imported are kept, so that `Job.check_code` compares what ran, not what lies on disk by then.
- A job that imports or opens a file of the project that its fingerprint does not count fails there and then, in the
  process that does it. So does one that reads an environment variable which no spec holds.

Importing from source costs 0.1 s for 75 files. The audit hook sees 20,000
events while torch is imported, 2 ms. Stands on the standard library and `zsr.errors` alone: it is loaded first.
"""

import os
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from types import ModuleType

from zsr.errors import ZsrError

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
PACKAGES = ("zsr", "zsr_kernels", "workflow")
FIRST = ("workflow", "workflow.scripts", "zsr", "zsr.guard", "zsr.errors")  # loaded before the finder is there
PREFIXES = [prefix for place in (sys.prefix, sys.base_prefix) for prefix in (place, os.path.realpath(place))]
ELSEWHERE = tuple(  # a checkout may lie in /usr/src
    os.path.join(prefix, "")
    for prefix in (*PREFIXES, "/proc", "/sys", "/dev")
    if not ROOT.startswith(os.path.join(os.path.realpath(prefix), ""))
)

# Variables that code of the project may read in a job, since no number depends on them. Others belong into a setting.
HARMLESS = {
    "ZSR_DATA", "ZSR_DOWNLOAD", "ZSR_WORKERS", "ZSR_RETRY_SECONDS",  # where bytes lie, how they are fetched
    "ZSR_TRACEBACK", "PATH", "HOME",
    "ZSR_GPUS", "ZSR_GPU_LOCKS", "ZSR_CELLS_PER_GPU", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_ID",
    "ZSR_DEVICE",  # of plans that jobs make again from a config whose device is resolved
    "GLOO_SOCKET_IFNAME", "OMP_NUM_THREADS",  # set by the job itself
    "TRITON_INTERPRET",  # refused below
}  # fmt: skip
# Functions of libraries whose first argument is a file that compiled code opens, unseen by Python's audit.
OPENERS = {"safetensors": ("safe_open",), "pyarrow.parquet.core": ("ParquetFile", "read_table", "read_metadata")}
# Variables of libraries that change numbers and are in no spec: a job refuses them.
CHANGING = (
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TRITON_INTERPRET", "TRITON_F32_DEFAULT",
    "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE",
)  # fmt: skip


class Watch:
    """What this process has imported and opened of the project, by path relative to the checkout."""

    def __init__(self) -> None:
        self.used: dict[str, set[bytes]] = {}  # file -> the contents that were seen of it
        self.imported: set[str] = set()
        self.asking: set[str] = set()  # imported files that mention the environment, as stack frames name them
        self.allowed: frozenset[str] | None = None  # the fingerprint's files, once the spec is known
        self.own: set[str] = set()  # files and folders of the user: specs hold their digests, or what they say
        self.faults: list[str] = []  # found before anybody could be told
        self.on = False
        self.quiet = threading.local()

    def imports(self, path: str, data: bytes) -> None:
        """Note a module; refuse one that the fingerprint does not count."""
        if b"environ" in data or b"getenv" in data:
            self.asking.add(path)
        if (name := of_project(path)) is not None:
            self.imported.add(name)
            self._note(name, data)

    def opens(self, path: object, mode: object, flags: int) -> None:
        """Note a file that is opened for reading."""
        if not isinstance(path, (str, bytes, os.PathLike)) or flags & os.O_WRONLY:
            return
        name = of_project(os.fsdecode(path))
        if name is None or self._is_own(name):
            return
        with unwatched():
            try:
                with open(os.path.join(ROOT, name), "rb") as file:
                    data = file.read()
            except OSError:
                return  # the caller will hear of it
        self._note(name, data)

    def _note(self, name: str, data: bytes) -> None:
        self.used.setdefault(name, set()).add(data)
        if self.on and self.allowed is not None and name not in self.allowed:
            raise self._outside(name)

    def _outside(self, name: str) -> ZsrError:
        """One line with the cure."""
        if name in self.imported:
            how, cure = "imports", "import it by its literal name"
        else:
            how, cure = "reads", "name it in `reads = (…)` of the module that reads it"
        return ZsrError(
            f"{name}: this job {how} it, and the fingerprint of its code does not count it, so a change of it would "
            f"not make the result again; {cure} (docs/reruns.md)"
        )

    def _is_own(self, name: str) -> bool:
        return any(name == place or name.startswith(f"{place}/") for place in self.own)

    def check(self, files: dict[str, str]) -> None:
        """From here on only these files may be used; raise if others have been."""
        if self.faults:
            raise ZsrError(self.faults[0])
        self.allowed = frozenset(files)
        for name in self.used:
            if name not in self.allowed and not self._is_own(name):
                raise self._outside(name)


WATCH = Watch()


def of_project(path: str) -> str | None:
    """The path relative to the checkout; None for what lies elsewhere, is hidden, installed or compiled."""
    for spelling in (os.path.abspath, os.path.realpath):  # a link in the checkout counts under its own name
        place = spelling(path)
        if place.startswith(ELSEWHERE):
            return None
        if place.startswith(ROOT + os.sep):
            name = place[len(ROOT) + 1 :]
            parts = name.split(os.sep)
            hidden = parts[0].startswith(".") or parts[0].endswith(".egg-info") or "__pycache__" in parts
            return None if hidden else name
    return None


@contextmanager
def unwatched() -> Iterator[None]:
    """For reading that makes no result: planning again, fingerprints, advice for messages."""
    before = getattr(WATCH.quiet, "on", False)
    WATCH.quiet.on = True
    try:
        yield
    finally:
        WATCH.quiet.on = before


def is_unwatched() -> bool:
    """Whether this thread is inside `unwatched`."""
    return getattr(WATCH.quiet, "on", False)


def own(*places: str | os.PathLike) -> None:
    """Files and folders of the user that a job may read: what is in them is held by specs, digests and records."""
    for place in places:
        for spelling in (os.path.abspath(place), os.path.realpath(place)):
            if spelling.startswith(ROOT + os.sep):
                WATCH.own.add(spelling[len(ROOT) + 1 :])


# -- modules from source ---------------------------------------------------------------------------------------------


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


# -- watching --------------------------------------------------------------------------------------------------------


def watch_job() -> None:
    """Called by `workflow/scripts/__init__.py`, before the script of a job is loaded."""
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
    """The few modules that Python loaded in its own way: was their bytecode that of their source?"""
    path, cached = module.__file__, module.__spec__.cached
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


class Environment(type(os.environ)):
    """`os.environ` that refuses code of the project a variable which could change a number."""

    def __getitem__(self, key: str) -> str:
        if key not in HARMLESS and not is_unwatched():
            refuse_variable(key)
        return super().__getitem__(key)


def refuse_variable(key: str) -> None:
    """Raise if the one who asks is code of the project; compiled code has no frame, and looks like its caller."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(("<frozen os", "<frozen _collections_abc")):
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename in WATCH.asking:
        WATCH.faults.append(
            f"{of_project(frame.f_code.co_filename)}:{frame.f_lineno}: reads the environment variable {key}, which no "
            "spec holds; make it a setting, or add it to HARMLESS in zsr/guard.py if no number depends on it"
        )
        raise ZsrError(WATCH.faults[-1])


def refuse_changing_variables() -> None:
    """Variables of libraries that change numbers must not be set for a job."""
    with unwatched():
        for name in CHANGING:
            if os.environ.get(name):
                raise ZsrError(f"the environment variable {name} changes results and is in no spec; unset it")

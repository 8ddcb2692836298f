"""Imports single modules of open_clip without the rest of its package: 0.02 s after torch instead of 1.3 s.

Every evaluation cell is a process of its own, and `import open_clip` brings timm, all of torchvision and torch's
compiler, none of which a ResNet or VisionTransformer tower needs. So the packages' `__init__` files are not run while
the one module is imported, and timm and transformers are held absent (open_clip takes them as optional). Afterwards
`import open_clip` or `import torchvision` runs as usual, and meets the same CLIP class. Only towers that timm or
transformers build need the whole package first: import open_clip before asking here.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

PASSED_BY = ("torchvision", "torchvision.ops", "open_clip")
ABSENT = ("timm", "transformers")


def clip_class() -> type:
    """`open_clip.model.CLIP`."""
    return part("model").CLIP


def part(name: str) -> ModuleType:
    """The module `open_clip.<name>`."""
    full = f"open_clip.{name}"
    if "open_clip" in sys.modules or full in sys.modules:
        return importlib.import_module(full)
    with _without_init():
        return importlib.import_module(full)


@contextmanager
def _without_init() -> Iterator[None]:
    """Empty modules with the packages' search paths stand in for the packages while the block runs."""
    replaced = [name for name in (*PASSED_BY, *ABSENT) if name not in sys.modules]
    try:
        for name in replaced:
            sys.modules[name] = None if name in ABSENT else bare(name)  # type: ignore[assignment]  # None: absent
        yield
    finally:
        for name in replaced:
            del sys.modules[name]


def bare(name: str) -> ModuleType:
    """An empty module with the search path of a package; a parent comes before its parts."""
    parent, _, leaf = name.rpartition(".")
    module = ModuleType(name)
    if parent:
        module.__path__ = [f"{path}/{leaf}" for path in sys.modules[parent].__path__]
    else:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"no package {name}", name=name)
        module.__path__ = list(spec.submodule_search_locations)
    return module

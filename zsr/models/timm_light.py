"""Imports one architecture's file of timm without the hundred files that `import timm` reads.

Every evaluation cell is a process of its own, and needs one file. The job that makes the backbone looks up which one
holds the architecture, and writes it into the definition. As in zsr/models/open_clip_light.py, `import timm` works as
usual afterwards.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType

from torch import nn

from zsr.errors import ZsrError, unknown
from zsr.models.open_clip_light import bare

PASSED_BY = ("torchvision", "torchvision.ops", "timm", "timm.models", "timm.data")


def file_of(name: str) -> str:
    """The file of timm.models that holds an architecture; imports all of timm."""
    import timm

    if not timm.is_model(name):
        raise unknown("architecture of timm", name, timm.list_models(), "image.timm")
    return timm.models.model_entrypoint(name).__module__.removeprefix("timm.models.")


def create(name: str, file: str, arguments: dict) -> nn.Module:
    """A tower without classifier and with fresh weights: images -> features [B, F]."""
    if not (name.isidentifier() and file.isidentifier()):
        raise ZsrError(f"backbone: '{file}.{name}' is no architecture of timm")
    module = _module(f"timm.models.{file}")
    if name not in getattr(module, "__all__", ()) and not hasattr(module, name):
        raise ZsrError(f"backbone: timm.models.{file} has no architecture '{name}'; run `make venv`")
    return getattr(module, name)(pretrained=False, num_classes=0, **arguments)


def _module(full: str) -> ModuleType:
    if "timm" in sys.modules or full in sys.modules:
        return importlib.import_module(full)
    try:
        with _without_init():
            return importlib.import_module(full)
    except ImportError:  # a file that asks for more: the same functions, two seconds later
        return importlib.import_module(full)


@contextmanager
def _without_init() -> Iterator[None]:
    """Empty modules with the packages' search paths stand in for the packages while the block runs."""
    replaced = [name for name in PASSED_BY if name not in sys.modules]
    try:
        for name in replaced:
            sys.modules[name] = bare(name)
        vars(sys.modules["timm"])["__version__"] = version("timm")  # what its files ask of the packages
        vars(sys.modules["timm.data"]).update(vars(importlib.import_module("timm.data.constants")))
        yield
    finally:
        for name in replaced:
            sys.modules.pop(name, None)

"""What the plan must know of a method before any of its code runs: the constants of its class."""

from functools import cache
from typing import NamedTuple

from zsr.registry import describe


class MethodTraits(NamedTuple):
    """The constants of a method's class; `zsr.methods.core.base.Method` says what each means."""

    trains: bool
    attacked: bool
    zero_shot: bool
    needs_labels: bool
    needs_classes: bool
    needs_tokens: bool
    needs_teacher: bool
    own_tensors: bool
    trains_text: bool


@cache
def traits_of(method: str) -> MethodTraits:
    """The constants of one method, read from its syntax tree."""
    constants = describe("methods", method).constants
    return MethodTraits(**{name: bool(constants[name]) for name in MethodTraits._fields})

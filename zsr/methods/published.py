"""Weights that others published: the image tower of a robust CLIP in place of its backbone's, nothing is trained here.

`checkpoint` names a row of zsr/models/published.yaml (where the weights lie, which backbone they belong to, the ε and
the set they were trained with). Others are given by `hub` (org/model, in open_clip's format) or `weights` (a file, with
its `sha256`); then `eps` and `trained_on` say what the report must know of them. Text is the backbone's.
"""

from dataclasses import dataclass
from typing import ClassVar

from zsr.methods.core.base import Method


@dataclass(frozen=True)
class Published(Method):
    """A robust image tower as its authors left it."""

    trains: ClassVar[bool] = False
    checkpoint: str = ""
    hub: str = ""
    revision: str = ""
    weights: str = ""
    sha256: str = ""
    eps: str = ""
    trained_on: str = ""

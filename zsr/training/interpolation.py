"""Weights between two models of one backbone: θ_α = (1 - α)·θ_from + α·θ_to, over all tensors of the image tower.

TeCoA mixes CLIP and its own model so (Mao et al., ICLR 2023, section 4 and figure 7; α in steps of 0.1), after WiSE-FT
(Wortsman et al., CVPR 2022, arXiv 2109.01903). BatchNorm's running statistics are mixed like weights. A model is stored
as what differs from its backbone, so that a tensor which an end does not name is the backbone's.
"""

from pathlib import Path

import numpy as np

from zsr.errors import ZsrError

Tensors = dict[str, np.ndarray]


def mix(base: Tensors, start: Tensors, end: Tensors, alpha: float) -> Tensors:
    """Every tensor that either end names; the very bits of the ends at α = 0 and 1, else computed in float64."""
    mixed = {}
    for name in sorted(start.keys() | end.keys()):
        ends = [one[name] if name in one else _backbones(base, name) for one in (start, end)]
        if ends[0].shape != ends[1].shape:
            raise ZsrError(
                f"interpolation: '{name}' is {list(ends[0].shape)} in one end and {list(ends[1].shape)} in the other; "
                "take two models with the same tensors"
            )
        if alpha in (0, 1) or not np.issubdtype(ends[0].dtype, np.floating):  # a count of batches has no mean
            mixed[name] = ends[alpha >= 0.5]
        else:
            wide = [value.astype(np.float64) for value in ends]
            mixed[name] = ((1 - alpha) * wide[0] + alpha * wide[1]).astype(ends[0].dtype)
    return mixed


def offsets(tensors: Tensors, base: Tensors) -> Tensors:
    """Those that differ from the backbone's, as a fine-tuning saves them."""
    return {
        name: value
        for name, value in tensors.items()
        if (key := _key(base, name)) is None or not np.array_equal(value, base[key])
    }


def over(base: Tensors, tensors: Tensors, path: Path) -> Tensors:
    """The backbone with a model's tensors in their places: names and shapes must be the backbone's."""
    tower = dict(base)
    for name, value in tensors.items():
        key = _key(base, name)
        if key is None or base[key].shape != value.shape:
            raise ZsrError(f"{path}: '{name}' {list(value.shape)} has no place in the backbone; take another `start`")
        tower[key] = value
    return tower


def _backbones(base: Tensors, name: str) -> np.ndarray:
    if (key := _key(base, name)) is None:
        raise ZsrError(
            f"interpolation: one end has a tensor '{name}', neither the other nor the backbone has it; take two models "
            "with the same tensors"
        )
    return base[key]


def _key(base: Tensors, name: str) -> str | None:
    """The backbone's name of an image tower's tensor: a plain tower's lacks `visual.`, a wrapped one's has it."""
    return next((key for key in (f"visual.{name}", name) if key in base), None)

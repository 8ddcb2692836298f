"""Shapes as signed distances: negative inside, in units of the radius, on local coordinates [n, H, W].

Only + - * / abs, comparisons and the square root: IEEE 754 fixes their results to the bit, which it does not for sine
or exponential, so every machine draws the same bytes. Half-planes stand for polygons: max cuts, min joins.
"""

from collections.abc import Callable

import numpy as np

Field = np.ndarray  # [n, H, W] float32


def _length(u: Field, v: Field) -> Field:
    return np.sqrt(u * u + v * v)


def _box(u: Field, v: Field, width: float, height: float) -> Field:
    return np.maximum(np.abs(u) - np.float32(width), np.abs(v) - np.float32(height))


def _plane(u: Field, v: Field, a: float, b: float, c: float) -> Field:
    """Inside where a·u + b·v < c; (a, b) of unit length."""
    return np.float32(a) * u + np.float32(b) * v - np.float32(c)


def circle(u: Field, v: Field) -> Field:
    return _length(u, v) - np.float32(0.95)


def square(u: Field, v: Field) -> Field:
    return _box(u, v, 0.82, 0.82)


def triangle(u: Field, v: Field) -> Field:
    """Point up; the sides have slope 2."""
    return np.maximum(_plane(np.abs(u), -v, 0.894427, 0.447214, 0.447214), v - np.float32(0.85))


def diamond(u: Field, v: Field) -> Field:
    return _plane(np.abs(u), np.abs(v), 0.83205, 0.5547, 0.5547)


def cross(u: Field, v: Field) -> Field:
    return np.minimum(_box(u, v, 0.3, 1.0), _box(u, v, 1.0, 0.3))


def moon(u: Field, v: Field) -> Field:
    """A disc without a disc shifted to the right."""
    return np.maximum(_length(u, v) - np.float32(1.0), np.float32(0.8) - _length(u - np.float32(0.55), v))


def arrow(u: Field, v: Field) -> Field:
    """A head that points right, and its shaft."""
    head = np.maximum(_plane(u, np.abs(v), 0.707107, 0.707107, 0.707107), -u)
    return np.minimum(head, _box(u + np.float32(0.5), v, 0.5, 0.28))


def heart(u: Field, v: Field) -> Field:
    """Two discs on a corner that stands on its tip."""
    side = np.abs(u)
    discs = _length(side - np.float32(0.45), v + np.float32(0.35)) - np.float32(0.55)
    tip = np.maximum(_plane(side, v, 0.707107, 0.707107, 0.46), -v - np.float32(0.35))
    return np.minimum(discs, tip)


SHAPES: dict[str, Callable[[Field, Field], Field]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "diamond": diamond,
    "cross": cross,
    "moon": moon,
    "arrow": arrow,
    "heart": heart,
}

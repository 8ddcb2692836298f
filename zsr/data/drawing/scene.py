"""A scene is a table: one row per image, what is on it and where. `canvas` paints it, `captions` tells it.

The concepts are the vocabulary of the embedded benchmark. Their order is the order of labels: append, never reorder.
"""

from dataclasses import dataclass

import numpy as np

from zsr.data.drawing.glyphs import DIGITS, LETTERS
from zsr.data.drawing.shapes import SHAPES

SHAPE = list(SHAPES)
GLYPH = [*DIGITS, *LETTERS]  # the ten digits first
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.95, 0.10, 0.10),
    "green": (0.10, 0.75, 0.15),
    "blue": (0.10, 0.20, 1.00),
    "yellow": (1.00, 0.95, 0.05),
    "cyan": (0.05, 0.90, 0.95),
    "purple": (0.75, 0.10, 0.90),
    "white": (1.00, 1.00, 1.00),
    "orange": (1.00, 0.50, 0.05),
}
COLOUR = list(COLOURS)
TEXTURE = ["solid", "striped", "checked", "dotted", "hollow"]
COUNT = ["one", "two", "three", "four"]
POSITION = ["middle", "top", "bottom", "left", "right"]
CENTRES = np.array([(0, 0), (0, -8), (0, 8), (-8, 0), (8, 0)], np.float32)  # pixels from the middle, (x, y)

# Two colours of every shape never occur with it in pretraining or in the source: the held-out pairs.
HELD_OUT = [(shape, (3 * shape + offset) % len(COLOUR)) for shape in range(len(SHAPE)) for offset in (0, 5)]
SEEN = [(s, c) for s in range(len(SHAPE)) for c in range(len(COLOUR)) if (s, c) not in set(HELD_OUT)]


@dataclass
class Scene:
    """Columns [n]; -1 where a concept does not apply."""

    shape: np.ndarray
    glyph: np.ndarray
    colour: np.ndarray
    texture: np.ndarray
    count: np.ndarray  # number of objects - 1
    position: np.ndarray  # -1: anywhere (several objects, or a place between two)
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


def sample(view: str, n: int, rng: np.random.Generator) -> Scene:
    """n rows of a view; a view is what a dataset asks about, all other concepts vary."""
    return VIEWS[view](n, rng)


def _scene(n: int, rng: np.random.Generator, pairs: list[tuple[int, int]] = SEEN) -> Scene:
    """Objects of any pair, texture, count and position."""
    pair = np.asarray(pairs)[rng.integers(len(pairs), size=n)]
    count = np.where(rng.random(n) < 0.6, 0, rng.integers(len(COUNT), size=n))
    return Scene(
        shape=pair[:, 0],
        glyph=np.full(n, -1),
        colour=pair[:, 1],
        texture=np.where(rng.random(n) < 0.3, 0, rng.integers(len(TEXTURE), size=n)),
        count=count,
        position=np.where(count == 0, rng.integers(len(POSITION), size=n), -1),
        label=np.zeros(n, np.int64),
    )


def _write(scene: Scene, rows: np.ndarray, glyph: np.ndarray, rng: np.random.Generator) -> None:
    """Turn rows into one glyph each, in the middle, solid, of any colour."""
    scene.shape[rows] = -1
    scene.glyph[rows] = glyph
    scene.colour[rows] = rng.integers(len(COLOUR), size=len(rows))
    scene.texture[rows], scene.count[rows], scene.position[rows] = 0, 0, 0


def everything(n: int, rng: np.random.Generator) -> Scene:
    """All concepts, for pretraining: 60 % objects, 24 % digits, 16 % letters."""
    scene = _scene(n, rng)
    draw = rng.random(n)
    digits, letters = np.flatnonzero(draw < 0.24), np.flatnonzero((draw >= 0.24) & (draw < 0.4))
    _write(scene, digits, rng.integers(len(DIGITS), size=len(digits)), rng)
    _write(scene, letters, len(DIGITS) + rng.integers(len(LETTERS), size=len(letters)), rng)
    return scene


def source(n: int, rng: np.random.Generator) -> Scene:
    """Seen pairs (75 %), labelled by pair, and letters, labelled by letter."""
    scene = _scene(n, rng)
    label_of = {pair: i for i, pair in enumerate(SEEN)}
    scene.label = np.array([label_of[s, c] for s, c in zip(scene.shape, scene.colour, strict=True)], np.int64)
    rows = np.flatnonzero(rng.random(n) < 0.25)
    letter = rng.integers(len(LETTERS), size=len(rows))
    _write(scene, rows, len(DIGITS) + letter, rng)
    scene.label[rows] = len(SEEN) + letter
    return scene


def pairs(n: int, rng: np.random.Generator) -> Scene:
    """Shape and colour, in combinations that nothing was trained on."""
    scene = _scene(n, rng, HELD_OUT)
    label_of = {pair: i for i, pair in enumerate(HELD_OUT)}
    scene.label = np.array([label_of[s, c] for s, c in zip(scene.shape, scene.colour, strict=True)], np.int64)
    return scene


def shape(n: int, rng: np.random.Generator) -> Scene:
    scene = _scene(n, rng)
    scene.label = scene.shape.astype(np.int64)
    return scene


def colour(n: int, rng: np.random.Generator) -> Scene:
    """Colours of objects."""
    scene = _scene(n, rng)
    scene.label = scene.colour.astype(np.int64)
    return scene


def texture(n: int, rng: np.random.Generator) -> Scene:
    """Textures, on one object in the middle."""
    scene = _scene(n, rng)
    scene.count[:], scene.position[:] = 0, 0
    scene.texture = rng.integers(len(TEXTURE), size=n)
    scene.label = scene.texture.astype(np.int64)
    return scene


def position(n: int, rng: np.random.Generator) -> Scene:
    scene = _scene(n, rng)
    scene.count[:] = 0
    scene.position = rng.integers(len(POSITION), size=n)
    scene.label = scene.position.astype(np.int64)
    return scene


def digits(n: int, rng: np.random.Generator) -> Scene:
    scene = _scene(n, rng)
    glyph = rng.integers(len(DIGITS), size=n)
    _write(scene, np.arange(n), glyph, rng)
    scene.label = glyph.astype(np.int64)
    return scene


VIEWS = {view.__name__: view for view in (everything, source, pairs, shape, colour, texture, position, digits)}

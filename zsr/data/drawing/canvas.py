"""Paint a scene: where objects lie, how they are filled, what ground they lie on. All images are 32×32.

Contrast is the benchmark's knob of difficulty: a pixel is ground + contrast · coverage · (colour - ground), so that the
lower it is, the fewer steps of ±1/255 separate one class from the next.
"""

import numpy as np

from zsr.data.drawing import glyphs, shapes
from zsr.data.drawing.scene import CENTRES, COLOURS, GLYPH, SHAPE, TEXTURE, Scene
from zsr.errors import ZsrError

SIZE = 32
AXIS = np.arange(SIZE, dtype=np.float32) - np.float32((SIZE - 1) / 2)
QUARTERS = np.array([(-7.5, -7.5), (7.5, 7.5), (7.5, -7.5), (-7.5, 7.5)], np.float32)


def paint(scene: Scene, contrast: tuple[float, float], noise: int, rng: np.random.Generator) -> np.ndarray:
    """The images of a scene [n, 3, 32, 32] uint8."""
    cover = np.zeros((len(scene), SIZE, SIZE), np.float32)
    objects, written = np.flatnonzero(scene.shape >= 0), np.flatnonzero(scene.glyph >= 0)
    cover[objects] = cover_objects(scene, objects, rng)
    cover[written] = cover_glyphs(scene, written, rng)
    return compose(cover, scene.colour, contrast, noise, rng)


def compose(
    cover: np.ndarray, colour: np.ndarray, contrast: tuple[float, float], noise: int, rng: np.random.Generator
) -> np.ndarray:
    """Lay a colour on a noisy grey ground where `cover` [n, 32, 32] in [0, 1] says so."""
    if not (len(contrast) == 2 and 0 < contrast[0] <= contrast[1] <= 1):
        raise ZsrError(f"drawn images: contrast is {list(contrast)}; write [least, most] within (0, 1]")
    if not 0 <= noise <= 64:
        raise ZsrError(f"drawn images: noise is {noise}; write 0 to 64 steps of 255")
    n = len(cover)
    palette = np.array(list(COLOURS.values()), np.float32)[colour][:, :, None, None]  # [n, 3, 1, 1]
    level = (0.35 + 0.25 * rng.random((n, 1, 1, 1))).astype(np.float32)
    slope = (0.16 * (rng.random((n, 2, 1, 1)) - 0.5) / SIZE).astype(np.float32)
    ground = level + slope[:, :1] * AXIS[None, None, :, None] + slope[:, 1:] * AXIS[None, None, None, :]
    strength = (contrast[0] + (contrast[1] - contrast[0]) * rng.random((n, 1, 1, 1))).astype(np.float32)
    image = ground + strength * cover[:, None] * (palette - ground)  # [n, 3, 32, 32]
    speckle = rng.integers(-noise, noise + 1, size=(n, 3, SIZE, SIZE), dtype=np.int8)
    return np.clip(np.floor(image * np.float32(255) + np.float32(0.5)) + speckle, 0, 255).astype(np.uint8)


def cover_objects(scene: Scene, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coverage of shapes [rows, 32, 32]: up to four per image, in quarters that are taken at random."""
    cover = np.zeros((len(rows), SIZE, SIZE), np.float32)
    order = rng.random((len(rows), 4)).argsort(1, kind="stable")
    phase = rng.integers(8, size=(len(rows), 2))
    single = (scene.count[rows] == 0) & (scene.position[rows] >= 0)
    centre = np.where(single[:, None], CENTRES[np.maximum(scene.position[rows], 0)], QUARTERS[order[:, 0]])
    radius = np.where(single, 6 + 3 * rng.random(len(rows)), 5.5 + 1.5 * rng.random(len(rows)))
    radius = np.where(single & (scene.position[rows] == 0), radius + 1.5, radius)
    for slot in range(4):
        here = np.flatnonzero(scene.count[rows] >= slot)
        if not len(here):
            continue
        at = (centre if slot == 0 else QUARTERS[order[:, slot]])[here] + (3 * rng.random((len(here), 2)) - 1.5)
        u, v = local(at.astype(np.float32), radius[here].astype(np.float32), rng)
        painted = np.zeros(u.shape, np.float32)
        for number, name in enumerate(SHAPE):
            same = np.flatnonzero(scene.shape[rows[here]] == number)
            if len(same):
                inside = shapes.SHAPES[name](u[same], v[same]) * radius[here[same], None, None].astype(np.float32)
                painted[same] = fill(inside, scene.texture[rows[here[same]]], phase[here[same]])
        cover[here] = np.maximum(cover[here], painted)
    return cover


def local(centre: np.ndarray, radius: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in the coordinates of a shape [n, 32, 32]: shifted, scaled, turned by up to ±17°.

    A rotation without sine: ((1 - t²), 2t) / (1 + t²) is the point at twice the angle whose tangent is t.
    """
    t = (0.3 * (rng.random(len(centre)) - 0.5)).astype(np.float32)
    cos, sin = ((1 - t * t) / (1 + t * t))[:, None, None], (2 * t / (1 + t * t))[:, None, None]
    x = (AXIS[None, None, :] - centre[:, 0, None, None]) / radius[:, None, None]
    y = (AXIS[None, :, None] - centre[:, 1, None, None]) / radius[:, None, None]
    return cos * x + sin * y, cos * y - sin * x


def fill(inside: np.ndarray, texture: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Signed distance in pixels [n, 32, 32] -> coverage, by texture; a pattern's gaps are bare."""
    cover = np.clip(np.float32(0.5) - inside, 0, 1)
    i = np.arange(SIZE)
    x, y = i[None, None, :] + phase[:, 0, None, None], i[None, :, None] + phase[:, 1, None, None]
    gaps = {
        "striped": np.broadcast_to(y % 4 >= 2, (*y.shape[:2], SIZE)),
        "checked": (x // 4 + y // 4) % 2 == 1,
        "dotted": ~((x % 4 < 2) & (y % 4 < 2)),
    }
    for number, name in enumerate(TEXTURE):
        same = texture == number
        if name in gaps:
            cover[same] *= ~gaps[name][same]
        elif name == "hollow":
            cover[same] *= 1 - np.clip(np.float32(-1.5) - inside[same], 0, 1)
    return cover


def cover_glyphs(scene: Scene, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coverage of digits and letters [rows, 32, 32]; half of them as coarse as scikit-learn's digits (8×8)."""
    cover = np.zeros((len(rows), SIZE, SIZE), np.float32)
    coarse = rng.random(len(rows)) < 0.5
    way = rng.integers(6, size=len(rows))  # 6: divisible by the number of ways that any glyph has
    shift = np.where(coarse[:, None], 2.0, 5.0) * (rng.random((len(rows), 2)) - 0.5)
    height = np.where(coarse, 13.0 + 2.5 * rng.random(len(rows)), 9.0 + 5.5 * rng.random(len(rows)))
    width = height * np.where(coarse, 0.65 + 0.6 * rng.random(len(rows)), 0.75 + 0.4 * rng.random(len(rows)))
    pen = np.where(coarse, 2.0 + 1.4 * rng.random(len(rows)), 1.1 + 1.1 * rng.random(len(rows))).astype(np.float32)
    u, v = local(shift.astype(np.float32), np.ones(len(rows), np.float32), rng)
    slant = (0.5 * (rng.random((len(rows), 1, 1)) - 0.5)).astype(np.float32)
    u = (u + slant * v) / width[:, None, None].astype(np.float32)
    v = v / height[:, None, None].astype(np.float32)
    shake = (0.3 * (rng.random((len(rows), 12, 2)) - 0.5)).astype(np.float32)
    known = {**glyphs.DIGITS, **glyphs.LETTERS}
    for number, name in enumerate(GLYPH):
        ways = known[name]
        for choice, strokes in enumerate(ways):
            same = np.flatnonzero((scene.glyph[rows] == number) & (way % len(ways) == choice))
            if len(same):
                tall = height[same, None, None].astype(np.float32)
                away = glyphs.distance(strokes, shake[same], u[same], v[same]) * tall
                cover[same] = np.clip(pen[same, None, None] + np.float32(0.5) - away, 0, 1)
    cover[coarse] = coarsen(cover[coarse])
    return cover


def coarsen(cover: np.ndarray) -> np.ndarray:
    """Counts of covered pixels in 4×4 blocks, as the digits of scikit-learn were made, then enlarged again."""
    n, block = len(cover), SIZE // 8
    blocks = (cover >= np.float32(0.5)).reshape(n, 8, block, 8, block).sum((2, 4))  # [n, 8, 8], 0…16
    return enlarge(blocks.astype(np.float32) / np.float32(block * block))


def enlarge(small: np.ndarray) -> np.ndarray:
    """[n, 8, 8] -> [n, 32, 32], bilinear between the centres of the blocks."""
    block = SIZE // small.shape[1]
    at = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) / np.float32(block) - np.float32(0.5)
    at = np.clip(at, 0, small.shape[1] - 1)
    low = np.minimum(at.astype(np.int64), small.shape[1] - 2)
    part = at - low
    rows = small[:, low] * (1 - part)[None, :, None] + small[:, low + 1] * part[None, :, None]
    return rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part

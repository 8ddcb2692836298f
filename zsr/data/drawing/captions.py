"""What a caption says of a drawn image: sometimes everything, mostly some of it, as people do.

Each image gets several captions; pretraining draws one at each visit. The templates of the datasets ask in the same
words ('a photo of a striped object'), never in the same sentences about held-out pairs. A few captions begin with 'this
is', and a few say what the image is *not*, so that prompts such as 'this is not a photo of a red circle' (comp-tga) are
made of words that the text tower has read, where they were true. docs/benchmark.md says how little it learns of them.
"""

import numpy as np

from zsr.data.drawing.scene import COLOUR, COUNT, GLYPH, POSITION, SEEN, SHAPE, TEXTURE, Scene

# how often a caption names a concept, if it does not name all
SAYS = {"shape": 0.6, "colour": 0.5, "texture": 0.6, "count": 0.4, "position": 0.4}
FULL = 0.3  # share of captions that name all
THIS = 0.10  # share that begin with 'this is'
NOT = 0.05  # share that deny something: true of most other images too, so a little of it must do


def tell(scene: Scene, rng: np.random.Generator, alternatives: int) -> list[str]:
    """`alternatives` captions per image, joined by ' | '."""
    draws = rng.random((len(scene), alternatives, 3 + len(SAYS)))
    return [" | ".join(_caption(scene, i, draw) for draw in draws[i]) for i in range(len(scene))]


def _article(thing: str) -> str:
    return "an" if thing[0] in "aeiou" else "a"


def _caption(scene: Scene, i: int, draw: np.ndarray) -> str:
    begin, pick = draw[-2:]
    if begin < NOT:
        return f"this is not a photo of {_absent(scene, i, pick)}"
    this = begin < NOT + THIS
    return ("this is " if this else "") + _shown(scene, i, draw, place=not this)


def _shown(scene: Scene, i: int, draw: np.ndarray, place: bool) -> str:
    """What is on the image; the place is left out where the text tower's 12 tokens would not hold it."""
    full = draw[0] < FULL
    says = {name: bool(full or draw[1 + k] < share) for k, (name, share) in enumerate(SAYS.items())}
    if scene.glyph[i] >= 0:
        colour = f"{COLOUR[scene.colour[i]]} " if says["colour"] else ""
        return f"a photo of a {colour}{_kind(scene.glyph[i])}"
    words = [
        TEXTURE[scene.texture[i]] if says["texture"] else "",
        COLOUR[scene.colour[i]] if says["colour"] else "",
        SHAPE[scene.shape[i]] if says["shape"] else "object",
    ]
    thing = " ".join(word for word in words if word)
    number = COUNT[scene.count[i]] if says["count"] else _article(thing) if scene.count[i] == 0 else ""
    if scene.count[i] > 0:
        thing += "es" if thing.endswith("s") else "s"
    where = f" at the {POSITION[scene.position[i]]}" if place and says["position"] and scene.position[i] >= 0 else ""
    return " ".join(f"a photo of {number} {thing}{where}".split())


def _kind(glyph: int) -> str:
    return f"{'digit' if glyph < 10 else 'letter'} {GLYPH[glyph]}"


def _absent(scene: Scene, i: int, pick: float) -> str:
    """Something that the image does not show, any with equal chance: a seen pair of colour and shape, or a glyph."""
    number = int(pick * (len(SEEN) + len(GLYPH) - 1))  # one of them may be shown: it is stepped over
    if scene.glyph[i] >= 0:
        shown = len(SEEN) + int(scene.glyph[i])
    else:
        pair = (int(scene.shape[i]), int(scene.colour[i]))
        shown = SEEN.index(pair) if pair in SEEN else len(SEEN) + len(GLYPH)
    number += number >= shown
    if number >= len(SEEN):
        return f"a {_kind(number - len(SEEN))}"
    shape, colour = SEEN[number]
    return f"{_article(COLOUR[colour])} {COLOUR[colour]} {SHAPE[shape]}"

"""What a caption says of a drawn image: sometimes everything, mostly some of it, as people do.

Each image gets several captions; pretraining draws one at each visit. The templates of the datasets ask in the same
words ('a photo of a striped object'), never in the same sentences about held-out pairs.
"""

import numpy as np

from zsr.data.drawing.scene import COLOUR, COUNT, GLYPH, POSITION, SHAPE, TEXTURE, Scene

# how often a caption names a concept, if it does not name all
SAYS = {"shape": 0.6, "colour": 0.5, "texture": 0.6, "count": 0.4, "position": 0.4}
FULL = 0.3  # share of captions that name all


def tell(scene: Scene, rng: np.random.Generator, alternatives: int) -> list[str]:
    """`alternatives` captions per image, joined by ' | '."""
    draws = rng.random((len(scene), alternatives, 1 + len(SAYS)))
    return [" | ".join(_caption(scene, i, draw) for draw in draws[i]) for i in range(len(scene))]


def _article(thing: str) -> str:
    return "an" if thing[0] in "aeiou" else "a"


def _caption(scene: Scene, i: int, draw: np.ndarray) -> str:
    full = draw[0] < FULL
    says = {name: bool(full or draw[1 + k] < share) for k, (name, share) in enumerate(SAYS.items())}
    if scene.glyph[i] >= 0:
        colour = f"{COLOUR[scene.colour[i]]} " if says["colour"] else ""
        return f"a photo of a {colour}{'digit' if scene.glyph[i] < 10 else 'letter'} {GLYPH[scene.glyph[i]]}"
    words = [
        TEXTURE[scene.texture[i]] if says["texture"] else "",
        COLOUR[scene.colour[i]] if says["colour"] else "",
        SHAPE[scene.shape[i]] if says["shape"] else "object",
    ]
    thing = " ".join(word for word in words if word)
    number = COUNT[scene.count[i]] if says["count"] else _article(thing) if scene.count[i] == 0 else ""
    if scene.count[i] > 0:
        thing += "es" if thing.endswith("s") else "s"
    place = f" at the {POSITION[scene.position[i]]}" if says["position"] and scene.position[i] >= 0 else ""
    return " ".join(f"a photo of {number} {thing}{place}".split())

"""The embedded benchmark's images: the same bytes for the same seed, labels that mean their classes, held-out pairs."""

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from zsr import registry
from zsr.data.drawing import canvas, glyphs, shapes
from zsr.data.drawing.captions import tell
from zsr.data.drawing.scene import COLOUR, HELD_OUT, POSITION, SEEN, SHAPE, TEXTURE, VIEWS, sample
from zsr.data.readers.drawn import CHUNK, Drawn
from zsr.data.readers.handwritten import Handwritten
from zsr.errors import ZsrError
from zsr.models.word_tokenizer import tokenize
from zsr.results import collect

SETS = Path(canvas.__file__).parents[1] / "sets"
DRAWN = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(SETS.glob("*.yaml"))}
DRAWN = {name: entry for name, entry in DRAWN.items() if entry.get("reader") in ("drawn", "handwritten")}
ZERO_SHOT = {name: e for name, e in DRAWN.items() if list(e["splits"]) == ["test"]}


def first(reader: Drawn | Handwritten, split: str = "test"):
    return next(iter(reader.read(split)))


def scene_of(view: str, n: int = 2000):
    return sample(view, n, np.random.Generator(np.random.PCG64(3)))


def test_bytes_are_a_function_of_the_seed():
    """The digest is pinned: a changed drawing changes the benchmark, and docs/benchmark.md must be measured again."""
    one, two = (first(Drawn(captions=2, view="everything"), "train") for _ in range(2))
    assert one.images.tobytes() == two.images.tobytes() and one.captions == two.captions
    assert hashlib.sha256(one.images.tobytes()).hexdigest()[:16] == "da87c86062f2505f"
    assert one.images.tobytes() != first(Drawn(seed=1), "train").images.tobytes()
    assert one.images.tobytes() != first(Drawn(), "test").images.tobytes()


def test_captions_do_not_change_images_of_the_same_chunk():
    with_captions, without = first(Drawn(captions=4)), first(Drawn())
    assert with_captions.images.tobytes() == without.images.tobytes()
    assert without.captions is None and len(with_captions.captions) == CHUNK
    assert all(caption.count(" | ") == 3 for caption in with_captions.captions)


@pytest.mark.parametrize("view", VIEWS)
def test_chunks(view):
    chunks = list(itertools.islice(Drawn(view=view).read("test"), 2))
    for chunk in chunks:
        assert chunk.images.shape == (CHUNK, 3, 32, 32) and chunk.images.dtype == np.uint8
        assert chunk.labels.shape == (CHUNK,) and chunk.labels.dtype == np.int64
    assert chunks[0].images.tobytes() != chunks[1].images.tobytes()


@pytest.mark.parametrize("name", DRAWN)
def test_labels_fit_the_classes(name):
    entry = DRAWN[name]
    split = next(iter(entry["splits"]))
    reader = Handwritten() if entry["reader"] == "handwritten" else Drawn(view=entry["options"]["view"])
    labels = np.concatenate([chunk.labels for chunk in itertools.islice(reader.read(split), 3)])
    if entry["classes"]:
        assert set(labels) == set(range(len(entry["classes"])))  # none is missing, none has no name
    else:
        assert set(labels) == {0}


def test_class_names_say_what_the_labels_mean():
    pair, source = scene_of("pairs"), scene_of("source")
    for i in range(200):
        named = DRAWN["drawn-pairs"]["classes"][pair.label[i]]
        assert named == f"{COLOUR[pair.colour[i]]} {SHAPE[pair.shape[i]]}"
        named = DRAWN["drawn-source"]["classes"][source.label[i]]
        letter = source.glyph[i] >= 0
        expected = f"letter {list(glyphs.LETTERS)[source.glyph[i] - 10]}" if letter else (
            f"{COLOUR[source.colour[i]]} {SHAPE[source.shape[i]]}"
        )  # fmt: skip
        assert named == expected
    for name, words in {"shape": SHAPE, "colour": COLOUR, "texture": TEXTURE, "position": POSITION}.items():
        assert DRAWN[f"drawn-{name}"]["classes"] == words
        scene = scene_of(name)
        assert (scene.label == getattr(scene, name)).all()


def test_zero_shot_classes_are_disjoint_from_the_source():
    source = set(DRAWN["drawn-source"]["classes"])
    assert len(ZERO_SHOT) >= 6
    for name, entry in ZERO_SHOT.items():
        assert not source & set(entry["classes"]), name
    apart = {name for name, entry in ZERO_SHOT.items() if not collect.words(source) & collect.words(entry["classes"])}
    assert apart == {"drawn-texture", "drawn-position", "drawn-digits", "handwritten-digits"}


def test_held_out_pairs_are_never_trained_on():
    assert len(HELD_OUT) == 16 and len(SEEN) == 48
    for view in ("everything", "source"):
        scene = scene_of(view, 5000)
        seen = set(zip(scene.shape.tolist(), scene.colour.tolist(), strict=True))
        assert not seen & set(HELD_OUT)
    assert {s for s, _ in HELD_OUT} == set(range(len(SHAPE)))  # every word of a held-out pair is known from others
    assert {c for _, c in HELD_OUT} <= {c for _, c in SEEN}


def test_captions_are_true():
    scene = scene_of("everything", 300)
    for i, caption in enumerate(tell(scene, np.random.default_rng(0), 3)):
        affirmed = (alternative for alternative in caption.split(" | ") if "not" not in alternative.split())
        words = {word for alternative in affirmed for word in alternative.split()}
        assert len(words & set(COLOUR)) <= 1 and words & set(COLOUR) <= {COLOUR[scene.colour[i]]}
        if scene.glyph[i] < 0:
            assert words & set(SHAPE) <= {SHAPE[scene.shape[i]]} and words & set(TEXTURE) <= {TEXTURE[scene.texture[i]]}
            assert not {"digit", "letter"} & words
            assert words & set(POSITION) <= ({POSITION[scene.position[i]]} if scene.position[i] >= 0 else set())
        else:
            assert ("digit" in words) == (scene.glyph[i] < 10)


def test_denials_are_true_rare_and_never_of_held_out_pairs():
    scene = scene_of("everything", 4000)
    captions = [(i, c) for i, told in enumerate(tell(scene, np.random.default_rng(0), 4)) for c in told.split(" | ")]
    denied = [(i, c.split()) for i, c in captions if "not" in c.split()]
    assert 0.04 < len(denied) / len(captions) < 0.06
    things = set()
    for i, said in denied:
        assert said[:6] == ["this", "is", "not", "a", "photo", "of"] and said[6] in ("a", "an") and len(said) == 9
        thing = " ".join(said[7:])
        glyph = scene.glyph[i]
        shown = f"{COLOUR[scene.colour[i]]} {SHAPE[scene.shape[i]]}"
        if glyph >= 0:
            shown = f"{'digit' if glyph < 10 else 'letter'} {[*glyphs.DIGITS, *glyphs.LETTERS][glyph]}"
        assert thing != shown
        things.add(thing)
    assert not things & {f"{COLOUR[c]} {SHAPE[s]}" for s, c in HELD_OUT}
    assert len(things) == len(SEEN) + len(glyphs.DIGITS) + len(glyphs.LETTERS)  # any of them, of one image or another


def test_the_text_tower_takes_every_caption_and_the_complementary_prompts_of_the_source():
    arch = yaml.safe_load((SETS.parents[1] / "models/archs/drawn-vit.yaml").read_text(encoding="utf-8"))
    context = arch["text_cfg"]["context_length"]
    told = tell(scene_of("everything", 3000), np.random.default_rng(0), 4)
    tokenize([caption for captions in told for caption in captions.split(" | ")], context)
    template = registry.describe("methods", "comp-tga").settings["template"].default
    tokenize([template.format(name) for name in DRAWN["drawn-source"]["classes"]], context)
    assert any(caption.startswith("this is a photo") for captions in told for caption in captions.split(" | "))


def test_contrast_is_the_knob():
    """Coverage 1 at contrast 1 is the colour itself; half the contrast is half the distance to the ground."""
    cover = np.ones((50, 32, 32), np.float32)
    white = np.full(50, COLOUR.index("white"))
    full = canvas.compose(cover, white, (1.0, 1.0), 0, np.random.default_rng(0))
    assert (full == 255).all()
    half = canvas.compose(cover, white, (0.5, 0.5), 0, np.random.default_rng(0)).astype(int)
    ground = canvas.compose(0 * cover, white, (0.5, 0.5), 0, np.random.default_rng(0)).astype(int)
    assert abs(half - (255 + ground) / 2).max() <= 1


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_shapes_are_whole_and_fit(name):
    grid = np.linspace(-1.6, 1.6, 81, dtype=np.float32)
    inside = shapes.SHAPES[name](grid[None, None, :], grid[None, :, None])[0] < 0
    assert 0.05 < inside.mean() < 0.45
    assert not inside[[0, -1]].any() and not inside[:, [0, -1]].any()  # none reaches 1.6 radii


def test_shapes_differ():
    grid = np.linspace(-1.2, 1.2, 41, dtype=np.float32)
    masks = [shape(grid[None, None, :], grid[None, :, None])[0] < 0 for shape in shapes.SHAPES.values()]
    for one, two in itertools.combinations(masks, 2):
        assert (one ^ two).sum() > 0.15 * (one | two).sum()


def test_coarse_glyphs_have_the_grain_of_the_real_digits():
    small = np.arange(64, dtype=np.float32).reshape(1, 8, 8) / 64
    assert np.array_equal(canvas.coarsen(np.repeat(np.repeat(small >= 0.5, 4, 1), 4, 2).astype(np.float32)),
                          canvas.enlarge((small >= 0.5).astype(np.float32)))  # fmt: skip
    assert canvas.enlarge(small)[0, 0, 0] == small[0, 0, 0] and canvas.enlarge(small)[0, -1, -1] == small[0, -1, -1]


def test_handwritten_digits_are_all_there():
    chunk = first(Handwritten())
    assert len(chunk.labels) == DRAWN["handwritten-digits"]["splits"]["test"] == 1797
    assert np.bincount(chunk.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert first(Handwritten()).images.tobytes() == chunk.images.tobytes()


@pytest.mark.parametrize(
    ("reader", "split", "word"),
    [
        (Drawn(view="textures"), "test", "texture"),
        (Drawn(contrast=(0.9, 0.2)), "test", "contrast"),
        (Drawn(noise=-1), "test", "noise"),
        (Handwritten(), "train", "test"),
        (replace(Handwritten(), contrast=(0.0, 2.0)), "test", "contrast"),
    ],
)
def test_bad_settings_are_named(reader, split, word):
    with pytest.raises(ZsrError, match=word):
        first(reader, split)

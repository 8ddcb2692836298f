"""So many images of each class: how many, which, and the class that has too few."""

import numpy as np
import pytest
from support.method_setting import fit, make_source, make_task
from support.project import refused

from zsr.errors import ZsrError
from zsr.methods.ce import CE
from zsr.methods.core.source_set import SourceSet


def source(counts=(7, 5, 9)) -> SourceSet:
    """Each image holds its own place, so that a subset shows which were taken."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return SourceSet(np.arange(len(labels)).reshape(-1, 1, 1, 1), labels)


def places(found: SourceSet) -> set[int]:
    return set(found.images.ravel().tolist())


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_each_class_has_its_shots_and_images_keep_their_labels(shots):
    whole = source()
    found = whole.subset(0, 3, shots)
    assert np.bincount(found.labels).tolist() == [shots] * 3
    assert len(places(found)) == 3 * shots
    assert (whole.labels[found.images.ravel()] == found.labels).all()
    assert (np.diff(found.images.ravel()) > 0).all()


def test_the_seed_draws_and_fewer_shots_are_among_more():
    whole = source()
    assert places(whole.subset(0, 3, 2)) == places(whole.subset(0, 3, 2))
    assert len({frozenset(places(whole.subset(0, seed, 2))) for seed in range(20)}) > 10
    assert places(whole.subset(0, 3, 1)) < places(whole.subset(0, 3, 2)) < places(whole.subset(0, 3, 5))


def test_every_image_can_be_drawn():
    whole = source()
    assert set.union(*(places(whole.subset(0, seed, 1)) for seed in range(200))) == set(range(21))


def test_no_shots_are_all():
    whole = source()
    assert whole.subset(0, 3) is whole


@pytest.mark.parametrize(
    ("counts", "classes", "words"),
    [
        ((7, 5, 9), ("red", "green", "blue"), "6 is more than the 5 images of class 'green'"),
        ((7, 7, 7), ("red", "green", "blue", "grey"), "6 is more than the 0 images of class 'grey'"),
        ((7, 5, 9), (), "6 is more than the 5 images of class '1'"),
    ],
)
def test_a_class_that_has_too_few_is_named(counts, classes, words):
    with refused(words):
        source(counts).subset(0, 0, 6, classes)


def test_the_training_sees_the_shots_and_names_the_class(tmp_path):
    task = make_task(moved=False, classes=("ant", "bee", "cat", "dog"))
    seen = []

    class Seen(CE):
        def loss(self, task, batch):
            seen.extend(batch.labels.tolist())
            return super().loss(task, batch)

    fit(tmp_path, Seen(), task, epochs=1, shots=2, batch=8)
    assert np.bincount(seen).tolist() == [2, 2, 2, 2]
    counts = np.bincount(make_source().labels)
    poor = ("ant", "bee", "cat", "dog")[counts.argmin()]
    with pytest.raises(ZsrError, match=f"images of class '{poor}'"):
        fit(tmp_path, CE(), task, shots=int(counts.min()) + 1)

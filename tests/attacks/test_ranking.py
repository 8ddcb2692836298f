"""Whether two benchmarks rank alike (benchmarks/ranking.py): τ against scipy's, its intervals, and real results."""

import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau
from support.project import Project, load_benchmark, refused

ranking = load_benchmark("ranking")
MODELS = list("abcdefgh")


def side(accuracies: list[float], images: int, seed: int = 0) -> object:
    """Models of these accuracies on two sets; the images are drawn."""
    rng = np.random.default_rng(seed)
    verdicts = {
        model: {name: (rng.random(images) < p).astype(float) for name in ("one", "two")}
        for model, p in zip(MODELS, accuracies, strict=False)
    }
    return ranking.Side(verdicts, pd.DataFrame(columns=["a", "b", "difference", "p_holm"]))


def test_tau_is_scipys_ties_included():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, size=(2, 40, 7)).astype(float)
    assert np.allclose(ranking.tau(a, b), [kendalltau(x, y).statistic for x, y in zip(a, b, strict=True)])


def test_a_side_that_ties_everything_ranks_nothing():
    assert np.isnan(ranking.tau(np.ones(4), np.arange(4.0)))


def test_many_images_leave_the_order_no_doubt():
    even = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    same = ranking.intervals(side(even, 3000), side(even, 3000, seed=1), MODELS, draws=200)
    turned = ranking.intervals(side(even, 3000), side(even[::-1], 3000, seed=1), MODELS, draws=200)
    assert same == {"images": (1, 1), "models": (1, 1)} and turned == {"images": (-1, -1), "models": (-1, -1)}


def test_equal_models_have_no_order_to_agree_on():
    images = ranking.intervals(side([0.5] * 8, 50), side([0.5] * 8, 50, seed=1), MODELS, draws=200)["images"]
    assert images[0] < 0 < images[1]


def test_resampling_keeps_the_means_and_their_spread():
    given = side([0.2, 0.5, 0.9], 400)
    drawn = given.resampled(MODELS[:3], np.random.default_rng(0), 4000)
    assert np.allclose(drawn.mean(0), given.means(MODELS[:3]), atol=0.002)
    assert np.allclose(drawn.std(0), np.sqrt(np.array([0.2, 0.5, 0.9]) * [0.8, 0.5, 0.1] / 800), rtol=0.1)


@pytest.fixture
def column(finished: Project) -> str:
    return f"{finished.path('results')}:vit:mini:pgd"


def test_results_rank_as_themselves(column, monkeypatch, capsys):
    place = f"{column}:4/255"
    read = ranking.read(place, "robust")
    cells = pd.read_csv(f"{column.partition(':')[0]}/tables/methods.csv", dtype={"eps": str})
    means = cells[
        (cells["backbone"] == "vit") & (cells["attack"] == "pgd") & (cells["eps"] == "4/255")
        & (cells["scope"] == "zero-shot")
    ].set_index("model")["robust"]  # fmt: skip
    assert np.allclose(read.means(list(means.index)), means)
    monkeypatch.setattr(sys, "argv", ["ranking.py", place, place])
    ranking.main()
    assert "τ-b 1.00 over 3 models" in capsys.readouterr().out


@pytest.mark.parametrize(
    "end, message",
    [("2/255", "no eps '2/255', there are 1/255, 4/255"), ("4/255:more", "no tables in '.*results:vit'")],
)
def test_a_place_that_is_not_there_is_named(column, end, message):
    with refused(message):
        ranking.read(f"{column}:{end}", "robust")

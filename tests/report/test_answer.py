"""The first sentence: who stands best, who cannot be told from it, and what is said where nobody stands."""

import pandas as pd
import pytest

from zsr.report.page.answer import NAMED, key, sentences

PLACE = {"protocol": "zsr", "backbone": "vit", "attack": "pgd", "eps": "1/255"}


def models(robust: dict[str, float]) -> pd.DataFrame:
    """One row for each model: its mean over two zero-shot sets."""
    return pd.DataFrame(
        [
            PLACE
            | {"model": name, "method": name, "scope": "zero-shot", "sets": 2, "robust": value, "clean": 0.8}
            | {"robust_lo": value, "robust_hi": value + 0.1, "clean_lo": 0.7, "clean_hi": 0.9}
            for name, value in robust.items()
        ]
    )


def pairs(best: str, others: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """The paired tests of the best against others: name -> (points ahead, p)."""
    columns = ["a", "b", "difference", "lo", "hi", "p_holm", "quantity", "scope", *PLACE]
    rows = [
        PLACE
        | {"a": best, "b": other, "difference": gap, "lo": gap, "hi": gap, "p_holm": p}
        | {"quantity": "robust", "scope": "zero-shot"}
        for other, (gap, p) in others.items()
    ]
    return pd.DataFrame(rows, columns=columns)


def said(robust: dict[str, float], tests: pd.DataFrame) -> str:
    return sentences(models(robust), tests)[key(*PLACE.values())]


def test_the_best_leads_by_what_the_paired_test_says():
    text = said({"clip": 0.02, "tecoa": 0.3}, pairs("tecoa", {"clip": (0.28, 0.0004)}))
    assert "<mark>tecoa</mark> stands best" in text and "30.0\u202f%" in text
    assert "leads clip by 28.0 points" in text and "p &lt; 0.001" in text
    assert "undefended model keeps 2.0\u202f%" in text


def test_a_model_that_cannot_be_told_from_the_best_is_named():
    text = said({"tecoa": 0.3, "fare": 0.29}, pairs("tecoa", {"fare": (0.01, 0.4)}))
    assert "cannot tell it from fare (1.0 points behind, p = 0.40)" in text and "leads" not in text


def test_many_that_cannot_be_told_apart_are_counted():
    others = {f"m{i}": (0.01, 0.5) for i in range(NAMED + 3)}
    text = said({"best": 0.3} | dict.fromkeys(others, 0.29), pairs("best", others))
    assert "m3 (" in text and "m4 (" not in text and "and 3 more" in text


@pytest.mark.parametrize(
    ("names", "words"), [(["clip"], "the model does not stand"), (["clip", "ce"], "none of the 2")]
)
def test_where_nobody_stands_nobody_wins(names, words):
    text = said(dict.fromkeys(names, 0.0), pairs("clip", dict.fromkeys(names[1:], (0.0, 1.0))))
    assert words in text and "best" not in text and "0.0\u202f%" in text and "10.0]" in text

"""ε among results ('2/255', or nothing at all) as a number: one place that sorts and converts it."""

from collections.abc import Iterable

from zsr.epsilon import fraction_of


def value(eps: object) -> float:
    """'2/255' -> 0.00784…; '' and None (no ε) -> 0."""
    text = "" if eps is None else str(eps).strip()
    return 0.0 if text in ("", "nan") else float(fraction_of(text, "results"))


def ordered(values: Iterable[object]) -> list[str]:
    """Distinct ε from small to large."""
    return sorted({str(v) for v in values}, key=value)

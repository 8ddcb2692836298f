"""ε as the config writes it ('2/255') and as a number: one place that sorts, prints and converts it."""

from fractions import Fraction

from zsr.errors import ZsrError


def value(eps: object) -> float:
    """'2/255' -> 0.00784…; '' and None (no ε) -> 0."""
    text = "" if eps is None else str(eps).strip()
    if text in ("", "nan"):
        return 0.0
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise ZsrError(f"results: eps '{text}' is not a number; write it as 2/255 or 0.5") from error


def ordered(values: object) -> list[str]:
    """Distinct ε from small to large."""
    return sorted({str(v) for v in values}, key=value)

"""A share as a percentage with one decimal, rounded half up: sentence, table and script must not differ by 0.1."""

import math


def percent(share: float) -> float:
    """0.8525 -> 85.25: six decimals travel into the page, one is shown; from two, 30.448 would be shown as 30.5."""
    return round(100 * share, 6)


def shown(share: float) -> float:
    """0.8525 -> 85.3: what is shown, as a number."""
    return float(fixed(percent(share)))


def fixed(value: float) -> str:
    """85.25 -> '85.3'; `fixed` of the page's script computes the same from the same number."""
    return f"{math.floor(value * 10 + 0.5) / 10:.1f}"


def plain(value: float) -> str:
    """51.924385 -> '51.924385', 85.0 -> '85': as the page's script writes it, never as 1e-05."""
    return f"{value:.6f}".rstrip("0").rstrip(".")

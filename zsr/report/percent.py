"""A share as a percentage with one decimal, rounded half up: sentence, table and script must not differ by 0.1."""

import math


def percent(share: float) -> float:
    """0.8525 -> 85.25: two decimals travel into the page, one is shown."""
    return round(100 * share, 2)


def fixed(value: float) -> str:
    """85.25 -> '85.3'; `fixed` of the page's script computes the same from the same number."""
    return f"{math.floor(value * 10 + 0.5) / 10:.1f}"

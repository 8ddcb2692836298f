"""The numbers of an attack: ε and lengths as people write them, exact and with one spelling; counts above 0."""

import math
import numbers
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from zsr.errors import ZsrError, short

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
DIGITS = 40  # of one number: nobody writes more, and Python would compute with millions
COUNTS = ("steps", "restarts", "targets", "queries", "eot")  # without a restart every image would look robust
SMALLEST, LARGEST = Fraction(1, 10**8), 10**6  # ε below adds nothing to a float32 pixel, above holds every image


def decimal(text: str) -> Fraction | None:
    """The number that a text is, exactly; None if it is none."""
    text = text.strip()
    return Fraction(text) if len(text) <= DIGITS and NUMBER.fullmatch(text) else None


def exact(value: object) -> Fraction | None:
    """The number that a value is, or two of them with / between; None if it is none."""
    top, slash, bottom = str(value).partition("/")
    dividend, divisor = decimal(top), decimal(bottom) if slash else Fraction(1)
    return None if dividend is None or not divisor else dividend / divisor


def as_float(number: Fraction | float) -> float:
    """The nearest float; infinite where there is none."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def fraction_of(value: object, where: str) -> Fraction:
    """'1/255', '0.5/255' or 0.01, exactly; anything else is a mistake."""
    number = exact(value)
    if number is None:
        raise ZsrError(f"{where}: ε '{short(value)}' is not a number; write it as 2/255 or 0.01")
    return number


def eps_of(value: str | float, where: str, norm: str = "linf") -> Fraction:
    """The ε of an attack or a training; outside (0, 1] it is a mistake, except that L2 and L1 balls may be larger."""
    eps = fraction_of(value, where)
    if eps <= 0:
        raise ZsrError(f"{where}: ε {value} is outside (0, 1]; it must be larger than 0")
    if eps > 1 and norm == "linf":
        raise ZsrError(f"{where}: ε {value} is outside (0, 1]; pixels lie in [0, 1], write 2/255, not 2")
    if not SMALLEST <= eps <= LARGEST:
        raise ZsrError(
            f"{where}: ε {value} is outside [{float(SMALLEST):g}, {LARGEST}]; it would change nothing, or all"
        )
    return eps


def eps_text(eps: Fraction) -> str:
    """The one spelling of an ε: '2/255' where it is a decimal number of 255ths, else the number itself."""
    if eps > 1:  # of an L2 or L1 ball: nobody counts those in 255ths
        return format(float(eps), ".12g")
    scaled = eps * 255
    if scaled == Fraction(format(float(scaled), ".6g")):
        return f"{float(scaled):.6g}/255"
    return repr(float(eps))


def length(text: float | str, eps: float, where: str = "step_size") -> float:
    """A length as the config writes it, not negative: 0.01, '1/255', 'eps', 'eps/4', '2*eps'."""
    top, slash, bottom = str(text).replace(" ", "").partition("/")
    factors = [eps if factor == "eps" else decimal(factor) for factor in top.split("*")]
    divisor = as_float(decimal(bottom) or Fraction(0)) if slash else 1.0
    value = 1.0 / divisor if divisor else math.nan
    for factor in factors:
        value *= math.nan if factor is None else as_float(factor)
    if not 0 <= value <= LARGEST or (value == 0 and eps > 0):
        raise ZsrError(f"{where}: '{short(text)}' is no length; write a number above 0, '1/255', 'eps/4' or '2*eps'")
    return value


def check_counts(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a count below 1; called by the plan, before anything runs, and by every attack that is made."""
    for name in COUNTS:
        value = settings.get(name, 1)
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ZsrError(f"{where}: {name} is {value!r}; it needs at least one step, restart, target and query")

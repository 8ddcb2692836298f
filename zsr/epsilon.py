"""ε and lengths as people write them, and ε as a spec holds it: exact, with one spelling."""

import math
import re
from fractions import Fraction

from zsr.errors import ZsrError


def fraction_of(value: object, where: str) -> Fraction:
    """'1/255', '0.5/255' or 0.01, exactly; anything else is a mistake."""
    try:
        if re.search(r"e[+-]?\d{4}", str(value), re.IGNORECASE):
            raise ValueError("an exponent whose power of ten would not fit into memory")
        top, *bottom = str(value).split("/")
        (bottom,) = bottom or ["1"]  # Fraction itself would take the '255/2' of '1/255/2'
        return Fraction(top.strip()) / Fraction(bottom.strip() or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ZsrError(f"{where}: ε '{value}' is not a number; write it as 2/255 or 0.01") from error


def eps_of(value: str | float, where: str, norm: str = "linf") -> Fraction:
    """The ε of an attack or a training; outside (0, 1] it is a mistake, except that L2 and L1 balls may be larger."""
    eps = fraction_of(value, where)
    if eps <= 0:
        raise ZsrError(f"{where}: ε {value} is outside (0, 1]; it must be larger than 0")
    if eps > 1 and norm == "linf":
        raise ZsrError(f"{where}: ε {value} is outside (0, 1]; pixels lie in [0, 1], write 2/255, not 2")
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
    try:
        top, _, bottom = str(text).replace(" ", "").partition("/")
        value = 1.0 / float(bottom) if bottom else 1.0
        for factor in top.split("*"):
            value *= eps if factor == "eps" else float(factor)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not 0 <= value < math.inf or (value == 0 and eps > 0):
        raise ZsrError(f"{where}: '{text}' is no length; write a number above 0, '1/255', 'eps/4' or '2*eps'")
    return value

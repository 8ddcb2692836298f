"""ε as people write it and as a spec holds it: exact, with one spelling."""

from fractions import Fraction

from zsr.errors import ZsrError


def fraction_of(value: object, where: str) -> Fraction:
    """'1/255', '0.5/255' or 0.01, exactly; anything else is a mistake."""
    try:
        top, _, bottom = str(value).partition("/")
        return Fraction(top.strip()) / Fraction(bottom.strip() or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ZsrError(f"{where}: ε '{value}' is not a number; write it as 2/255 or 0.01") from error


def eps_of(value: str | float, where: str) -> Fraction:
    """The ε of an attack or a training; outside (0, 1] it is a mistake."""
    eps = fraction_of(value, where)
    if not 0 < eps <= 1:
        raise ZsrError(f"{where}: ε {value} is outside (0, 1]; pixels lie in [0, 1], write 2/255, not 2")
    return eps


def eps_text(eps: Fraction) -> str:
    """The one spelling of an ε: '2/255' where it is a decimal number of 255ths, else the number itself."""
    scaled = eps * 255
    if scaled == Fraction(format(float(scaled), ".6g")):
        return f"{float(scaled):.6g}/255"
    return repr(float(eps))

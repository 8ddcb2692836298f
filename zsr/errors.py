"""The one exception that users see: a single line that names the place and the cure."""

import difflib
from collections.abc import Iterable


class ZsrError(Exception):
    """A mistake outside the code (config, file, data). Its message is one line; commands print it without traceback."""


def unknown(what: str, name: object, known: Iterable[str], where: str = "") -> ZsrError:
    """The error for a name that is not known, with the nearest name that is."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
    return ZsrError(f"{where + ': ' if where else ''}unknown {what} '{name}'; {hint}")

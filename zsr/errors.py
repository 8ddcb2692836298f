"""The one exception that users see: a single line that names the place and the cure.

Functions that may raise it take `where`: the place that the line begins with (a key of the config, a file and row).
"""

import difflib
from collections.abc import Iterable

MOST = 50  # names in a message


class ZsrError(Exception):
    """A mistake outside the code (config, file, data). Its message is one line; commands print it without traceback."""

    def __init__(self, message: str) -> None:
        """Names of a config or an archive may hold line ends and control codes: these are shown, not printed.

        Bytes of a file name that are no text stay, so that the terminal gets them back.
        """
        super().__init__("".join(s if s.isprintable() or "\udc80" <= s <= "\udcff" else repr(s)[1:-1] for s in message))


def unknown(what: str, name: object, known: Iterable[str], where: str = "") -> ZsrError:
    """The error for a name that is not known, with the nearest name that is."""
    known, name = sorted(known), short(name)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    more = f", and {len(known) - MOST} more" if len(known) > MOST else ""
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known[:MOST]) or 'none'}{more}"
    return ZsrError(f"{where + ': ' if where else ''}unknown {what} '{name}'; {hint}")


def short(value: object, most: int = 100) -> str:
    """A value as a message shows it: the beginning of a long one."""
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}…"

"""The one exception that users see: a single line that names the place and the cure.

Every message of the project is put together here: a name that is not known, a refusal of the operating system, a value
that is too long for a line.
"""

import difflib
from collections.abc import Iterable

MOST = 50  # names in a message
ROOM = "free space or mend the permissions"  # the cure for most refusals of the system


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


def system_error(place: object, error: Exception, cure: str, failed: str = "") -> ZsrError:
    """The error for a file or folder that the system refuses, such as on a full disk.

    `failed` says what could not be done with it; the system's reason then stands in brackets.
    """
    said = f"{failed} ({system_reason(error)})" if failed else system_reason(error)
    return ZsrError(f"{place}: {said}" + (f"; {cure}" if cure else ""))


def system_reason(error: Exception) -> str:
    """What the system says when it refuses a file: 'No space left on device'."""
    return getattr(error, "strerror", None) or str(error)


def short(value: object, most: int = 100) -> str:
    """The text of a value as a message shows it: a long one is cut after `most` characters."""
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}…"

"""The numbers of an attack that must be whole and above 0: without a restart it would leave every image standing."""

import numbers

from zsr.errors import ZsrError

COUNTS = ("steps", "restarts", "targets", "queries", "eot")


def check_counts(settings: dict, where: str) -> None:
    """Looked at by the plan, before anything runs, and by every attack that is made."""
    for name in COUNTS:
        value = settings.get(name, 1)
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ZsrError(f"{where}: {name} is {value!r}; it needs at least one step, restart, target and query")

"""How many processors this process may use."""

import os


def processors() -> int:
    """Those that it is bound to, where the system says; else all."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

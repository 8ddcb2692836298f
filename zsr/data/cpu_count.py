"""The number of processors that this process may use."""

import os


def usable_cpus() -> int:
    """The processors that this process is bound to, or all where the system does not say."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

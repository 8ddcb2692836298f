"""How a job is asked to stop: Ctrl-C, SIGTERM (a scheduler, or the death of the parent), SIGHUP (a closed terminal)."""

import ctypes
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], None]


def on_stop(handler: Handler) -> None:
    """Call `handler` when this process is asked to stop; a signal that the caller had ignored (nohup) stays ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Stop at once: KeyboardInterrupt is no `Exception`, so nothing takes it for a fault of the work."""
    raise KeyboardInterrupt


def ignore_stops() -> None:
    """Signals no longer interrupt this process: what is left is the removal of temporary files."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Linux: this process gets the signal `number` when its parent ends, however that ends; no orphan trains on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


@contextmanager
def children_ignore_stops() -> Iterator[None]:
    """Processes that start here ignore stops: they end with their parent. A stop of this process waits for the end."""
    resource_tracker.ensure_running()  # it would unblock the signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Prints progress: a bar with the time left on a terminal, one line a minute in a log file."""

import sys
import time


class Progress:
    """Counts to `total`; `step` costs a clock reading."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self.what, self.total, self.done = what, max(total, 1), done
        self.first = done
        self.start = self.last = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def step(self, count: int = 1, note: str = "") -> None:
        """Count, and print when it is time to: ten times a second on a terminal, else once a minute."""
        self.done += count
        now = time.monotonic()
        if now - self.last >= (0.1 if self.terminal else 60) or self.done >= self.total:
            self.last = now
            self._print(now, note)

    def _print(self, now: float, note: str) -> None:
        rate = (self.done - self.first) / max(now - self.start, 1e-9)
        left = (self.total - self.done) / rate if rate else 0.0
        line = f"{self.what} {self.done}/{self.total} {note} {rate:.3g}/s, {_span(left)} left"
        if self.terminal:
            filled = int(24 * self.done / self.total)
            end = "\n" if self.done >= self.total else ""
            print(f"\r[{'█' * filled}{'·' * (24 - filled)}] {line}\x1b[K", end=end, file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

"""What a part works with: the device, a clock, the rows; an error in one case does not stop the others."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import TypeVar

import torch
from gauges import processor

from gpu import NO_GPU
from gpu.rows import FILE, WHOLE_CASE, Rows, read

T, K = TypeVar("T"), TypeVar("K")


@dataclass
class Bench:
    """One part on one device. `tiny`: the same cases at sizes that a CPU does in seconds, to check that they run."""

    part: str
    device: str
    tiny: bool
    rows: Rows
    until: float  # time.time() at which the process is killed
    failed: list[str] = field(default_factory=list)

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def seconds_left(self) -> float:
        """Until the process is killed."""
        return self.until - time.time()

    def size(self, full: T, tiny: T) -> T:
        """The size that a case works with; its name says the full size, also in a tiny run."""
        return tiny if self.tiny else full

    def case(self, name: str, work: Callable[[], object], seconds: float = 0.0) -> None:
        """Call `work`, which writes the rows of the case.

        It is skipped if the run that is resumed has finished it, or if it takes longer (`seconds`) than is left. An
        error becomes a row, and the part goes on.
        """
        if (self.part, name) in self.rows.finished:
            return
        if not self.tiny and seconds > self.seconds_left:
            self.row(name, "", None, "", error=f"not started: {seconds:.0f} s needed, {self.seconds_left:.0f} s left")
            return
        begun = time.monotonic()
        try:
            work()
        except Exception as error:  # becomes a row and the process's exit status
            traceback.print_exc()
            self.failed.append(name)
            self.row(name, "", None, "", error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        else:
            self.row(name, "", time.monotonic() - begun, WHOLE_CASE)

    def row(
        self, case: str, side: str, value: float | None, unit: str, times: Sequence[float] = (), **more: str
    ) -> dict:
        """Write one row, and print it into the log."""
        row = self.rows.write(self.part, case, side, value, unit, times, **more)
        print(f"{case} | {side} | {row['value']} {unit}", *more.values(), flush=True)
        return row

    def synchronize(self) -> None:
        """Wait until the device has finished all work."""
        if self.cuda:
            torch.cuda.synchronize()

    def time_once(self, run: Callable[[], T]) -> tuple[float, T]:
        """Seconds of one run that keeps the device busy for long, and its result."""
        self.synchronize()
        begun = time.perf_counter()
        result = run()
        self.synchronize()
        return time.perf_counter() - begun, result

    def time_in_turns(self, sides: dict[K, Callable[[], object]], rounds: int) -> dict[K, list[float]]:
        """Milliseconds of each side, after a warm-up by the caller; sides alternate, so a busy moment affects all."""
        times: dict[K, list[float]] = {label: [] for label in sides}
        for _ in range(self.size(rounds, 1)):
            for label, run in sides.items():
                times[label].append(1000 * self.time_once(run)[0])
        return times

    def time_kernel(self, run: Callable[[], object], milliseconds: int = 60) -> list[float]:
        """Milliseconds of a short piece of device work, measured by events, with a cold L2 cache."""
        if not self.cuda:
            run()
            return self.time_in_turns({"": run}, 5)[""]
        from triton.testing import do_bench

        return do_bench(run, warmup=10, rep=milliseconds, return_mode="all")


def per_second(amount: float, times: Sequence[float]) -> float:
    """A rate from milliseconds: their median."""
    return amount / median(times) * 1000


def start(options: argparse.Namespace) -> Bench:
    """The bench of a part's process, from the options that the parent passed."""
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no GPU", file=sys.stderr)
        sys.exit(NO_GPU)
    machine = {
        "card": torch.cuda.get_device_name() if cuda else processor(), "driver": os.environ.get("ZSR_DRIVER", ""),
        "torch": torch.__version__, "triton": triton_version(), "tiny": options.tiny,
    }  # fmt: skip
    earlier = read([options.resume / FILE]) if options.resume else []
    rows = Rows(options.out / FILE, machine, earlier)
    return Bench(options.part, options.device, options.tiny, rows, options.until)


def triton_version() -> str:
    """Of the installed Triton, '' if there is none. Only the parts that need Triton import it."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return ""

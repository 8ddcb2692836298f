"""What a part works with: its device and sizes, a clock, the rows, and cases whose errors cost only themselves."""

import argparse
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import torch
from gauges import processor

from gpu.rows import Rows, read

T, K = TypeVar("T"), TypeVar("K")


@dataclass
class Bench:
    """One part on one device. `tiny`: the same cases at sizes that a CPU does in seconds, to see that they run."""

    part: str
    device: str
    tiny: bool
    rows: Rows
    until: float  # time.time() at which the process is killed
    failed: list[str] = field(default_factory=list)

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    def size(self, full, tiny):
        """What a case works on: its name says the full size, also in a tiny run."""
        return tiny if self.tiny else full

    @property
    def left(self) -> float:
        """Seconds until the process is killed."""
        return self.until - time.time()

    def row(
        self, case: str, side: str, value: float | None, unit: str, times: Sequence[float] = (), **more: str
    ) -> dict:
        """Write one row, and show it in the log."""
        row = self.rows.add(self.part, case, side, value, unit, times, **more)
        print(f"{case} | {side} | {row['value']} {unit}", *more.values(), flush=True)
        return row

    @contextmanager
    def case(self, name: str, *sides: str, seconds: float = 0.0) -> Iterator[bool]:
        """Run one case: `with bench.case("copy", "torch") as wanted: if wanted: …`.

        Not wanted is a case that the run to be resumed has measured, or one that would take longer (`seconds`) than
        what is left. An error becomes a row, and the part goes on with its next case.
        """
        wanted = not self.rows.has(self.part, name, sides)
        if wanted and not self.tiny and seconds > self.left:
            wanted = False
            self.row(name, "", None, "", error=f"not started: it takes {seconds:.0f} s, {self.left:.0f} s are left")
        begun = time.monotonic()
        try:
            yield wanted
        except Exception as error:  # reported by a row and by the process's exit status
            traceback.print_exc()
            self.failed.append(name)
            self.row(name, "", None, "", error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        if wanted:
            print(f"[{name}: {time.monotonic() - begun:.1f} s]", flush=True)

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""
        if self.cuda:
            torch.cuda.synchronize()

    def once(self, run: Callable[[], T]) -> tuple[float, T]:
        """Seconds on the wall of one run that keeps the device busy for long, and what it returned."""
        self.synchronize()
        begun = time.perf_counter()
        result = run()
        self.synchronize()
        return time.perf_counter() - begun, result

    def turns(self, sides: dict[K, Callable[[], object]], rounds: int) -> dict[K, list[float]]:
        """Milliseconds of each side, warm by now; in turns, so that what slows the machine slows all of them."""
        times: dict[K, list[float]] = {label: [] for label in sides}
        for _ in range(self.size(rounds, 1)):
            for label, run in sides.items():
                times[label].append(1000 * self.once(run)[0])
        return times

    def kernel(self, run: Callable[[], object], milliseconds: int = 60) -> list[float]:
        """Milliseconds of a short piece of device work, measured by events, with a cold L2 cache."""
        if not self.cuda:
            run()
            return self.turns({"": run}, 5)[""]
        from triton.testing import do_bench

        return do_bench(run, warmup=10, rep=milliseconds, return_mode="all")


def middle(times: list[float]) -> float:
    """The median."""
    return statistics.median(times)


def start(options: argparse.Namespace) -> Bench:
    """The bench of a part's process, from what its parent handed down."""
    cuda = options.device == "cuda"
    about = {
        "card": torch.cuda.get_device_name() if cuda else processor(), "driver": os.environ.get("ZSR_DRIVER", ""),
        "torch": torch.__version__, "triton": triton_version(), "tiny": options.tiny,
    }  # fmt: skip
    earlier = read([options.resume / "rows.jsonl"]) if options.resume else []
    rows = Rows(options.out / "rows.jsonl", about, earlier)
    return Bench(options.part, options.device, options.tiny, rows, options.until)


def triton_version() -> str:
    """Of the installed Triton, '' where there is none; it is imported by the parts that need it."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return ""

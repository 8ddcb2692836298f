"""Everything that only a GPU can answer, in one command that fits into the minutes for which a card is at hand.

    make gpu                                                # on your own card; ends with a table
    python benchmarks/on_gpu.py --minutes 9 --out DIR
    python benchmarks/on_gpu.py --only kernels pgd --out DIR
    python benchmarks/on_gpu.py --resume OLD --out DIR      # what OLD has measured on the same card is left out
    python benchmarks/on_gpu.py --device cpu --tiny --out DIR    # does it run? two minutes, nothing is measured

Parts run in order of value, each in a process of its own that is killed when its time is over: what fails or hangs
costs its own time alone. DIR/rows.jsonl has each measurement as soon as it is made (benchmarks/gpu/rows.py),
DIR/log.txt what the parts said. The table printed last has the goal and the prediction of each question
(benchmarks/gpu/questions.py). docs/gpus.md says how to try a card, and what to do with the rows. This process imports
no torch.

The parts need open_clip and two packages for comparison. Where these are not installed, they are taken from the folder
that benchmarks/gpu_wheels.sh fills.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gpu import questions
from gpu.rows import Rows, read

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WHEELS = ROOT / ".gpu-wheels" / "site"
ROWS, LOG = "rows.jsonl", "log.txt"


class Part(NamedTuple):
    """`expected`: seconds on an H100, below which it is not started; `limit`: seconds after which it is killed."""

    expected: int
    limit: int
    packages: tuple[str, ...] = ()


PARTS = {  # in order of value
    "correct": Part(40, 80, ("open_clip",)),
    "chain": Part(70, 100, ("open_clip",)),
    "copy": Part(12, 20, ("open_clip",)),
    "kernels": Part(45, 90, ("open_clip",)),
    "pgd": Part(100, 180, ("open_clip",)),
    "autoattack": Part(45, 90, ("open_clip", "pyautoattack")),
    "train": Part(40, 70, ("open_clip",)),
    "memory": Part(15, 25, ("open_clip", "torchattacks")),
}


def main() -> None:
    options = arguments()
    if options.part:
        child(options)
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the table is printed
    options.out.mkdir(parents=True, exist_ok=True)
    if options.device == "cuda" and not driver():
        sys.exit("no NVIDIA driver answers here; `--device cpu --tiny` tries the script without a GPU")
    until = time.monotonic() + 60 * options.minutes - 5
    try:
        for name in options.only:
            one(name, options, until)
    finally:
        earlier = [options.resume / ROWS] if options.resume and options.resume != options.out else []
        print(questions.table(read([*earlier, *([p] if (p := options.out / ROWS).exists() else [])])), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="the whole command ends by then (default: 9)")
    parser.add_argument("--out", type=Path, required=True, help="folder of rows.jsonl and log.txt")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=tuple(PARTS), metavar="PART",
                        help=", ".join(PARTS))  # fmt: skip
    parser.add_argument("--resume", type=Path, help="the folder of an earlier run")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU does in seconds")
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)  # the rest: from parent to child
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.only = [name for name in PARTS if name in options.only]
    return options


def one(name: str, options: argparse.Namespace, until: float) -> None:
    """Run a part in a process of its own, or write down why it did not run or did not end well."""
    part, left = PARTS[name], until - time.monotonic()
    missing = [package for package in part.packages if not findable(package)]
    if missing:
        note(options, name, f"needs {', '.join(missing)}: pip install, or benchmarks/gpu_wheels.sh")
        return
    if not options.tiny and part.expected > left:
        note(options, name, f"not started: it takes {part.expected} s, {max(left, 0):.0f} s are left")
        return
    limit = max(min(part.limit, left), 1)
    print(f"{name}: at most {limit:.0f} s", flush=True)
    begun = time.monotonic()
    status = watched(name, options, limit)
    took = time.monotonic() - begun
    if status is None:
        note(options, name, f"killed after {took:.0f} s")
    elif status:
        note(options, name, f"ended with {status} after {took:.0f} s; {options.out / LOG} says why")
    print(f"{name}: {took:.1f} s", flush=True)


def watched(name: str, options: argparse.Namespace, limit: float) -> int | None:
    """The exit status of a part's process; None if it had to be killed, with all that it had started."""
    command = [sys.executable, str(HERE / "on_gpu.py"), "--part", name, "--until", str(time.time() + limit)]
    command += ["--out", str(options.out), "--device", options.device]
    command += ["--tiny"] if options.tiny else []
    command += ["--resume", str(options.resume)] if options.resume else []
    with (options.out / LOG).open("a", encoding="utf-8") as log:
        log.write(f"--- {name}\n")
        log.flush()
        process = subprocess.Popen(
            command, env=environment(options.device), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:  # also when this process is told to stop
            kill(process)


def kill(process: subprocess.Popen) -> None:
    """End a process and its children; one that hangs in the driver is left behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended, and nothing of it is left
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        print(f"process {process.pid} does not die; going on without waiting for it", flush=True)


def environment(device: str) -> dict[str, str]:
    """Of a part: it finds this checkout, and the wheels where a package is not installed."""
    paths = [str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")]
    if any(not importlib.util.find_spec(name) for part in PARTS.values() for name in part.packages):
        paths.insert(2, str(WHEELS))
    return {
        **os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONUNBUFFERED": "1",
        "ZSR_DRIVER": driver() if device == "cuda" else "",
    }  # fmt: skip


def findable(package: str) -> bool:
    """Whether a part will find a package."""
    return importlib.util.find_spec(package) is not None or (WHEELS / package).is_dir()


@cache
def driver() -> str:
    """The version of NVIDIA's driver, '' where none answers."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.split("\n")[0].strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def note(options: argparse.Namespace, name: str, why: str) -> None:
    """A row that says why a part has no, or not all, measurements."""
    about = {"card": "", "driver": "", "torch": "", "triton": "", "tiny": options.tiny}
    Rows(options.out / ROWS, about).add(name, "", "", None, "", error=why)
    print(f"{name}: {why}", flush=True)


def child(options: argparse.Namespace) -> None:
    """One part, in its own process."""
    from gpu.bench import start

    bench = start(options)
    importlib.import_module(f"gpu.parts.{options.part}").run(bench)
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()

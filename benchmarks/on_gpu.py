"""Run all measurements that need a GPU, in nine minutes.

    make gpu                                                # on your own GPU; ends with a table
    python benchmarks/on_gpu.py --minutes 9 --out DIR
    python benchmarks/on_gpu.py --only kernels pgd --out DIR
    python benchmarks/on_gpu.py --resume OLD --out DIR      # skips what OLD has from the same GPU; DIR may be OLD
    python benchmarks/on_gpu.py --device cpu --tiny --out DIR    # only checks that the command runs

The parts run in order of value, each in a process of its own that is killed at its time limit: a part that fails or
hangs does not stop the others. DIR/rows.jsonl has each measurement as soon as it is made (benchmarks/gpu/rows.py),
DIR/log.txt has the output of the parts. The table printed last has the goal and the prediction of each question
(benchmarks/gpu/questions.py). The exit status is 1 if a part failed. docs/gpus.md says how to try a GPU, and what to do
with the rows. This process imports no torch.

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

from gpu import NO_GPU, questions
from gpu.rows import FILE, Rows, of_one_machine, read

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WHEELS = ROOT / ".gpu-wheels"
LOG = "log.txt"
RESERVE = 15  # seconds kept for killing a part and printing the table


class Part(NamedTuple):
    """`expected`: seconds on an H100; it is not started with less. `limit`: seconds after which it is killed."""

    expected: int
    limit: int
    packages: tuple[str, ...] = ("open_clip",)


PARTS = {  # in order of value
    "correct": Part(40, 80),
    "chain": Part(70, 160),
    "copy": Part(12, 20),
    "kernels": Part(45, 90),
    "pgd": Part(100, 180),
    "autoattack": Part(45, 150, ("open_clip", "pyautoattack")),
    "train": Part(40, 120),
    "memory": Part(15, 40, ("open_clip", "torchattacks")),
}


def main() -> None:
    options = arguments()
    if options.part:
        run_in_this_process(options)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the table is printed
    if options.device == "cuda" and not driver_version():
        sys.exit("no NVIDIA driver found; `--device cpu --tiny` tries the command without a GPU")
    options.out.mkdir(parents=True, exist_ok=True)
    until = time.time() + 60 * options.minutes - RESERVE
    failed = []
    try:
        for name in options.only:
            if not run_part(name, options, until):
                failed.append(name)
    finally:
        print_table(options)
    sys.exit(1 if failed else 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="the whole command ends by then (default: 9)")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl and log.txt")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=tuple(PARTS), metavar="PART",
                        help=", ".join(PARTS))  # fmt: skip
    parser.add_argument("--resume", type=Path, help="the folder of an earlier run")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU does in seconds")
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)  # from here on: parent to child
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume and not (options.resume / FILE).is_file():
        parser.error(f"--resume: {options.resume / FILE} does not exist")
    if not options.part and (options.out / FILE).exists() and options.resume != options.out:
        parser.error(f"{options.out} has rows already; take another folder, or --resume {options.out}")
    options.only = [name for name in PARTS if name in options.only]
    return options


def run_part(name: str, options: argparse.Namespace, until: float) -> bool:
    """Run a part in a process of its own, or write down why not; False if it failed."""
    part, left = PARTS[name], until - time.time()
    missing = [package for package in part.packages if not is_installed(package)]
    if missing:
        write_error(options, name, f"needs {', '.join(missing)}: pip install, or run benchmarks/gpu_wheels.sh")
        return False
    if not options.tiny and part.expected > left:
        write_error(options, name, f"not started: {part.expected} s needed, {max(left, 0):.0f} s left")
        return True
    limit = max(min(part.limit * (5 if options.tiny else 1), left), 1)
    print(f"{name}: at most {limit:.0f} s", flush=True)
    begun = time.monotonic()
    status = run_with_limit(name, options, limit)
    took = time.monotonic() - begun
    print(f"{name}: {took:.1f} s", flush=True)
    if status == NO_GPU:
        sys.exit(f"torch sees no GPU; {options.out / LOG} has its version")
    if status is None:
        write_error(options, name, f"killed after {took:.0f} s")
    elif status:
        write_error(options, name, f"ended with status {status} after {took:.0f} s; see {options.out / LOG}")
    return status == 0


def run_with_limit(name: str, options: argparse.Namespace, limit: float) -> int | None:
    """The exit status of a part's process; None if it had to be killed, with all processes that it had started."""
    command = [sys.executable, str(HERE / "on_gpu.py"), "--part", name, "--until", str(time.time() + limit)]
    command += ["--out", str(options.out), "--device", options.device]
    command += ["--tiny"] if options.tiny else []
    command += ["--resume", str(options.resume)] if options.resume else []
    with (options.out / LOG).open("a", encoding="utf-8") as log:
        log.write(f"--- {name}\n")
        log.flush()
        process = subprocess.Popen(
            command, env=environment(options), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:  # also when this process is told to stop
            kill(process)


def kill(process: subprocess.Popen) -> None:
    """End a process and its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    except ProcessLookupError:
        return  # all have ended
    except subprocess.TimeoutExpired:
        print(f"process {process.pid} could not be killed; continuing", flush=True)


def environment(options: argparse.Namespace) -> dict[str, str]:
    """Of a part's process: it finds this checkout, and the wheels of packages that are not installed."""
    packages = dict.fromkeys(package for part in PARTS.values() for package in part.packages)
    wheels = [str(WHEELS / package) for package in packages if not importlib.util.find_spec(package)]
    paths = [str(ROOT), str(HERE), *wheels, os.environ.get("PYTHONPATH", "")]
    threads = {"OMP_NUM_THREADS": "1"} if options.tiny else {}  # tiny work waits for threads on a busy machine
    return {
        **os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONUNBUFFERED": "1",
        "ZSR_DRIVER": driver_version() if options.device == "cuda" else "", **threads,
    }  # fmt: skip


def is_installed(package: str) -> bool:
    """Whether a part finds a package, installed or among the wheels."""
    return importlib.util.find_spec(package) is not None or (WHEELS / package).is_dir()


@cache
def driver_version() -> str:
    """Of NVIDIA's driver; '' if there is none or it does not work."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.split("\n")[0].strip() if done.returncode == 0 else ""


def write_error(options: argparse.Namespace, name: str, why: str) -> None:
    """A row that says why a part has no measurements, or not all."""
    machine = {"card": "", "driver": "", "torch": "", "triton": "", "tiny": options.tiny}
    Rows(options.out / FILE, machine).write(name, "", "", None, "", error=why)
    print(f"{name}: {why}", flush=True)


def print_table(options: argparse.Namespace) -> None:
    """The answers, from the rows of this run and of the run that it resumed on the same machine."""
    folders = dict.fromkeys(folder for folder in (options.resume, options.out) if folder)
    rows = read(folder / FILE for folder in folders if (folder / FILE).exists())
    print(questions.table(of_one_machine(rows)), flush=True)


def run_in_this_process(options: argparse.Namespace) -> None:
    """One part; ends the process."""
    from gpu.bench import start

    bench = start(options)
    importlib.import_module(f"gpu.parts.{options.part}").run(bench)
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()

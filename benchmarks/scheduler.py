"""What Snakemake's scheduler costs while jobs run: as it comes, and without its limit of starts.

The limit is lifted by zsr/jobs/snakemake_scheduler.py.

    python benchmarks/scheduler.py [jobs ...]     (default: 150 300)

A bare Snakefile of jobs that sleep half a second and read six files each, two at a time, all ready from the start. The
processor seconds are those of Snakemake's own process, without its jobs; the floor of the wall time is half a second
times the jobs, by two.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLEEP = 0.5
BARE = """
import time
{first}
rule all:
    input: [f"out/{{i}}" for i in range({jobs})]
rule one:
    input: [f"in/{{k}}" for k in range(6)]
    output: "out/{{i}}"
    shell: "sleep {sleep}; echo > {{output}}"
onsuccess:
    print(f"\\nprocessor {{time.process_time():.3f}}")
"""
UNLIMITED = """
from zsr.jobs.snakemake_scheduler import look_when_jobs_end
onstart:
    look_when_jobs_end(workflow.scheduler)
"""


def measure(jobs: int, first: str) -> tuple[float, float]:
    """Processor seconds of Snakemake, and seconds on the wall."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for k in range(6):
            (folder / "in" / str(k)).touch()
        (folder / "Snakefile").write_text(BARE.format(first=first, jobs=jobs, sleep=SLEEP), encoding="utf-8")
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy"],
            cwd=folder, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        took = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return float(re.search(r"processor ([\d.]+)", done.stdout + done.stderr).group(1)), took


def main() -> None:
    for jobs in [int(n) for n in sys.argv[1:]] or [150, 300]:
        theirs, ours = measure(jobs, ""), measure(jobs, UNLIMITED)
        print(
            f"{jobs} jobs, floor {jobs * SLEEP / 2:.0f} s: as it comes {theirs[0]:.1f} s of processor time in "
            f"{theirs[1]:.0f} s, without a limit {ours[0]:.1f} s in {ours[1]:.0f} s; "
            f"processor time {theirs[0] / ours[0]:.1f} times, wall time {theirs[1] / ours[1]:.2f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""How long Snakemake takes to find that there is nothing to do, and to plan, against a bare Snakefile of equal size.

    python benchmarks/dag.py [cells ...]     (default: 1500, the goal is 8 s; for 15000 cells 60 s and 1 GiB)
    python benchmarks/dag.py --fresh [cells ...]

Every output is made empty and recorded by `snakemake --touch`; then `snakemake -n` is timed in both, in turn, three
times, and the ratio of the medians is printed, with the peak memory of the larger process.

`--fresh`: nothing is made yet. The processor seconds and the peak memory of the plan alone and of one dry-run of
everything, ours and the bare one's: a number that a busy machine does not spoil (docs/scale.md).
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from zsr.checks.snakemake_memory import name_of_output  # noqa: E402
from zsr.plan.plan import Plan  # noqa: E402

BARE = """
CELLS = {cells}
rule all:
    input: [f"r/m/{{i}}" for i in range(20)], [f"r/e/{{i % 20}}/{{i}}" for i in range(CELLS)]
rule model:
    output: "r/m/{{m}}"
    params: spec=lambda w: "spec " * 100 + w.m
    shell: "echo > {{output}}"
rule evaluate:
    input: "r/m/{{m}}"
    output: "r/e/{{m}}/{{i}}"
    params: spec=lambda w: "spec " * 100 + w.i
    shell: "echo > {{output}}"
"""


def config(cells: int) -> dict:
    """About so many cells: 2 backbones x 5 models x 5 sets x 3 attacks x as many ε as it takes."""
    sets = ["drawn-source", "drawn-colour", "drawn-shape", "drawn-pairs", "handwritten-digits"]
    count = round(cells / (2 * 5 * len(sets) * 3))
    return {
        "backbones": [
            {"name": name, "arch": f"drawn-{name}", "pretrain": {"dataset": "drawn-captions"}} for name in ("rn", "vit")
        ],
        "finetune": {"dataset": "drawn-source", "eps": "4/255"},
        "models": [{"name": "clip", "method": "clip"}]
        + [{"name": f"tecoa-{i}", "method": "tecoa", "eps": f"{i}/255"} for i in range(1, 5)],
        "protocols": [
            {
                "name": "large",
                "datasets": sets,
                "attacks": [{"name": f"pgd-{n}", "attack": "pgd", "steps": n} for n in (10, 20, 100)],
                "eps": [f"{i}/1000" for i in range(1, count + 1)],
                "images": 200,
            }
        ],
    }


def snakemake(folder: Path, *arguments: str) -> tuple[float, str]:
    """Seconds and output of one call."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return time.perf_counter() - start, done.stdout + done.stderr


def copy_project(folder: Path) -> None:
    """The sources of this checkout."""
    for part in ("Snakefile", "workflow", "profiles", "zsr", "zsr_kernels", "envs", "resources"):
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / part)


def prepare(folder: Path, cells: int) -> int:
    """A copy of the project with a large config, all of whose outputs exist and are recorded."""
    copy_project(folder)
    made = config(cells)
    (folder / "config.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
    plan = Plan(made)
    for job in plan.jobs.values():
        for path in job.outputs.values():
            (folder / "results" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "results" / path).touch()
    memory = folder / ".snakemake/metadata" / name_of_output(f"results/{plan.tables.record}")
    memory.parent.mkdir(parents=True)
    memory.write_text("{}", encoding="utf-8")  # as if Snakemake had made them: `--touch` writes the rest
    return len(plan.cells)


def measure(cells: int, rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        ours, bare = Path(temporary, "ours"), Path(temporary, "bare")
        ours.mkdir()
        bare.mkdir()
        count = prepare(ours, cells)
        (bare / "Snakefile").write_text(BARE.format(cells=count), encoding="utf-8")
        for i in range(count):
            path = bare / f"r/e/{i % 20}/{i}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        for i in range(20):
            (bare / "r/m").mkdir(exist_ok=True)
            (bare / f"r/m/{i}").touch()
        planning = snakemake(ours, "-n", "--forceall", "--quiet")[0]
        for folder in (ours, bare):
            snakemake(folder, "--touch", "--quiet")
        times: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(rounds):
            for name, folder in (("ours", ours), ("bare", bare)):
                seconds, text = snakemake(folder, "-n")
                if "Nothing to be done" not in text:
                    sys.exit(f"{name}: there is something to be done\n{text[-2000:]}")
                times[name].append(seconds)
        own, other = statistics.median(times["ours"]), statistics.median(times["bare"])
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"{count} cells, n={rounds}, medians: nothing to do {own:.1f} s, bare Snakefile {other:.1f} s, "
            f"ratio {own / other:.2f}; planning all anew {planning:.1f} s; peak {peak:.0f} MiB"
        )


def cost(folder: Path, *command: str) -> tuple[float, float]:
    """Processor seconds and peak MiB of one process, its children's seconds included."""
    with (folder / "out.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, stdout=log, stderr=log,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit((folder / "out.log").read_text(encoding="utf-8")[-2000:])
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


PLANNING = (
    "import yaml; from zsr.plan.plan import Plan; plan = Plan(yaml.safe_load(open('config.yaml'))); plan.report.text"
)


def measure_fresh(cells: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        ours, bare = Path(temporary, "ours"), Path(temporary, "bare")
        ours.mkdir()
        bare.mkdir()
        copy_project(ours)
        (ours / "config.yaml").write_text(yaml.safe_dump(config(cells)), encoding="utf-8")
        count = len(Plan(config(cells)).cells)
        (bare / "Snakefile").write_text(BARE.format(cells=count), encoding="utf-8")
        dry = ("-m", "snakemake", "--cores", "2", "-n", "--quiet")
        found = [cost(ours, "-c", PLANNING), cost(ours, *dry), cost(bare, *dry)]
        text = " | ".join(f"{seconds:.1f} s | {peak:.0f} MiB" for seconds, peak in found)
        print(f"| {count:,} | {text} | {found[1][0] / found[2][0]:.2f} |", flush=True)


if __name__ == "__main__":
    fresh = "--fresh" in sys.argv
    if fresh:
        print("| cells | plan | peak | dry-run | peak | bare Snakefile | peak | ratio |\n" + "|---" * 8 + "|")
    for wanted in map(int, [word for word in sys.argv[1:] if word != "--fresh"] or ["1500"]):
        (measure_fresh if fresh else measure)(wanted)

"""kill -9 at fifty random moments of one run of the miniature workflow, and whether anything was lost or made twice.

    python benchmarks/faults.py [--kills 50] [--seed 0] [--folder DIR]

Runs the tests' miniature DAG twice in DIR: undisturbed, and with kills spread over all kinds of jobs, each of a job, of
Snakemake, or of everything at once. Prints the fault table of docs/faults.md; exit code 1 if a digest differs, a
finished result was made again, or a job outlived Snakemake.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from support.killing import VICTIMS, digests, torment  # noqa: E402
from support.project import MINI, copy_project  # noqa: E402

from zsr.plan.plan import Plan  # noqa: E402

SHARE = {
    "prepare": 4,
    "pretrain": 9,
    "heads": 4,
    "finetune": 10,
    "evaluate": 14,
    "tables": 3,
    "figures": 3,
    "report": 3,
}


def wanted(kills: int) -> list[str]:
    """So many kills, spread over the kinds of jobs as in SHARE (of 50)."""
    spread = [rule for rule, share in SHARE.items() for _ in range(round(share * kills / 50))]
    return (spread + ["evaluate"] * kills)[:kills]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="one backbone, two models, one set: a quick look")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
        if given.small:
            config["backbones"], config["models"] = config["backbones"][:1], config["models"][:2]
            config["protocols"][0] |= {"datasets": ["drawn-colour"]}
        projects = [copy_project(folder / name) for name in ("undisturbed", "disturbed")]
        for project in projects:
            project.configure(config)
        projects[0].snakemake()
        report = torment(projects[1], wanted(given.kills), given.seed)
        whole = digests(projects[0], Plan(config))
    differ = [record for record, found in report.digests.items() if found != whole[record]]
    struck = Counter((kill.victim, rule) for kill in report.kills for rule in set(kill.running) or {"(none)"})
    print("| while this ran | " + " | ".join(f"{victim} killed" for victim in VICTIMS) + " |")
    print("|---|" + "---|" * len(VICTIMS))
    for rule in [*SHARE, "adopt", "(none)"]:
        if any(struck[victim, rule] for victim in VICTIMS):
            print(f"| {rule} | " + " | ".join(str(struck[victim, rule]) for victim in VICTIMS) + " |")
    print(
        f"\n{len(report.kills)} kills (seed {given.seed}), {len(report.digests)} results compared: "
        f"{len(differ)} differ, {len(report.again)} finished results made again, "
        f"{report.orphans} jobs outlived Snakemake"
    )
    for line in [*differ, *report.again]:
        print(f"  {line}")
    sys.exit(1 if differ or report.again or report.orphans else 0)


if __name__ == "__main__":
    main()

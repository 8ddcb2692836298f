"""From process start to the first forward of an evaluation cell, and what share of a finished run that was.

    python benchmarks/startup.py [results]          (the goal is 6 s on a CPU, and 30 % of the default run)

Reads what every cell of a finished run has recorded: `start_seconds` ends when model and data are open.
"""

import json
import statistics
import sys
from pathlib import Path


def main(results: Path) -> None:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("eval/*/*/*/*/eps-*.json"))]
    if not records:
        sys.exit(f"{results}: no cells; run snakemake first")
    starts = [record["start_seconds"] for record in records]
    others = [
        json.loads(p.read_text(encoding="utf-8"))["seconds"]
        for kind in ("models", "backbones")
        for p in results.glob(f"{kind}/*/manifest.json")
    ]
    whole = sum(record["seconds"] for record in records) + sum(others)
    print(
        f"{len(records)} cells: start-up median {statistics.median(starts):.2f} s, largest {max(starts):.2f} s; "
        f"{100 * sum(starts) / whole:.0f} % of the {whole:.0f} s of all trainings and cells"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))

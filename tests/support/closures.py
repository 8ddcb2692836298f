"""Which files count in the fingerprint of each kind of job, in a form that a person can review.

python -m tests.support.closures      # writes closures.yaml anew; read the difference before it is committed
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import yaml

from zsr.plan.fingerprint import fingerprint
from zsr.plan.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
PINNED = Path(__file__).with_suffix(".yaml")
CONFIGS = ("config.yaml", "tests/mini.yaml", "config/real.yaml", "config/fewshot.yaml", "config/imagenet.yaml")


def closures() -> dict[str, dict]:
    """rule -> the Python files that all of its jobs share, those that only some have, and the files of other kinds."""
    found: dict[str, dict[tuple, set[Path]]] = defaultdict(dict)
    for config in [*map(_read, CONFIGS), _in_shards(_read("tests/mini.yaml"))]:
        for job in Plan(config).jobs.values():
            code = {key: tuple(value) for key, value in job.spec["code"].items() if key != "digest"}
            found[job.rule][tuple(code.values())] = {Path(name) for name in fingerprint(**code).files}
    return {rule: _of_rule(found[rule]) for rule in sorted(found)}


def _read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def _in_shards(config: dict) -> dict:
    protocols = [{**protocol, "shards": 2} for protocol in config["protocols"]]
    return {**config, "protocols": protocols}


def _of_rule(closures: dict[tuple, set[Path]]) -> dict:
    every, some = set.intersection(*closures.values()), set.union(*closures.values())
    extra = {}  # roots -> the data files that only these jobs count
    for (roots, *_), files in sorted(closures.items()):
        if own := [file for file in files - every if file.suffix != ".py"]:
            extra[" ".join(roots[1:])] = sorted(map(str, own))
    parts = {
        "every": _by_folder(file for file in every if file.suffix == ".py"),
        "some": _by_folder(file for file in some - every if file.suffix == ".py"),
        "data": sorted(str(file) for file in every if file.suffix != ".py"),
        "data of some": extra,
    }
    return {name: part for name, part in parts.items() if part}


def _by_folder(files: Iterable[Path]) -> dict[str, str]:
    folders: dict[str, list[str]] = defaultdict(list)
    for file in sorted(files):
        folders[str(file.parent)].append(file.stem)
    return {folder: " ".join(names) for folder, names in sorted(folders.items())}


if __name__ == "__main__":
    PINNED.write_text(yaml.safe_dump(closures(), sort_keys=False, width=118), encoding="utf-8")

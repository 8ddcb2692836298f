"""`zsr why <file>`: why a result would be made again: which key of its spec or which source file changed."""

import argparse
import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from zsr.checks.stale_results import on_disk
from zsr.cli import plan_of
from zsr.cli.values import name_of_file, refusing
from zsr.cli.verify import check_files
from zsr.errors import ZsrError, short, unknown
from zsr.plan import fingerprint
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.records import REPAIR, read_record

HELD = {"code": {"digest"}, "environment": {"pins"}, "needs": set()}  # what is asked of an old spec


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=name_of_file, help="a file among the results")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    with refusing("why", given.file):
        job = find(plan, given.file)
    print(f"{given.file} is made by: {job.title}")
    reasons = list(explain(plan, job))
    for reason in reasons:
        print(f"  {reason}")
    if not reasons:
        print("  it is up to date: made from the spec that the config and the code ask for")
    return 0


def find(plan: Plan, path: Path) -> PlannedJob:
    """The job that makes a file, given from the working folder or from the results folder."""
    names = [str(path)]
    real = Path(os.path.realpath(path))  # `resolve` raises RuntimeError for a loop of links
    if real.is_relative_to(plan.results.resolve()):
        names.append(str(real.relative_to(plan.results.resolve())))
    for name in names:
        if job := plan.graph.owner(name):
            return job
    if path.is_dir():
        raise ZsrError(f"{path}: it is a folder; name a file in it, such as {plan.results / plan.report.record}")
    if path.exists():
        raise ZsrError(f"{path}: no job of this config makes it; `zsr prune` lists such files")
    known = [path for job in plan.jobs.values() for path in job.outputs.values()]
    if not difflib.get_close_matches(names[-1], known, n=1, cutoff=0.5):  # thousands are known: too many for a line
        raise ZsrError(f"{path}: no result; name a file that is made in {plan.results}, such as {plan.report.record}")
    raise unknown("result", names[-1], known)


def explain(plan: Plan, job: PlannedJob, through: str = "") -> Iterator[str]:
    """Reasons in words, following changed inputs to where they changed."""
    if not on_disk(plan, job):
        yield f"{through}{job.record} is not there"
        return
    try:
        record = read_record(plan.results / job.record)
        check_files(plan, job, record)
    except ZsrError as error:
        yield f"{through}{error}"
        return
    if record["spec_hash"] == job.hash:
        return
    old, new = record["spec"], job.spec
    if not all(isinstance(old.get(part), dict) and HELD[part] <= old[part].keys() for part in HELD):
        yield f"{through}{plan.results / job.record}: its spec is none of zsr's; {REPAIR}"
        return
    yield from (f"{through}{line}" for line in changed_keys(_settings(old), _settings(new)))
    if old["code"]["digest"] != new["code"]["digest"]:
        yield from (f"{through}{line}" for line in changed_files(record["code_files"], new["code"]))
    if old["environment"]["pins"] != new["environment"]["pins"]:
        yield f"{through}the pins of envs/{new['environment']['name']}.yaml changed"
    for role, upstream in job.needs.items():
        if old["needs"].get(role) != upstream.hash:
            deeper = list(explain(plan, upstream, f"{through}its {role} ({upstream.title}): "))
            yield from deeper or [f"{through}its {role} ({upstream.title}) was made anew"]


def _settings(spec: dict) -> dict:
    return {key: value for key, value in spec.items() if key not in ("code", "environment", "needs")}


def changed_keys(old: object, new: object, key_path: str = "") -> Iterator[str]:
    """`recipe.lr: 0.001 -> 0.002`, one line a leaf."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from changed_keys(old.get(key), new.get(key), f"{key_path}.{key}" if key_path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from changed_keys(a, b, f"{key_path}[{i}]")
    elif old != new:
        yield f"{key_path}: {short(old, 80)} -> {short(new, 80)}"


def changed_files(old: dict[str, str], code: dict) -> Iterator[str]:
    """The source files whose meaning changed (comments and formatting do not count)."""
    new = fingerprint.fingerprint(code["roots"], without=code.get("without", ())).files
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            yield f"code: {path} is no longer used"
        elif path not in old:
            yield f"code: {path} is used now"
        elif old[path] != new[path]:
            yield f"code: {path} changed"

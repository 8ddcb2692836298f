"""`zsr export`: results for other tools. Models as open_clip and Hugging Face load them, numbers, and figures."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zsr.cli import plan_of
from zsr.cli.values import make_folder, name_of_file, refusing
from zsr.errors import ZsrError, unknown
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.records import check_digest, read_record, replacing, write_json

if TYPE_CHECKING:
    import pandas as pd

MODELS = ("finetune", "adopt", "publish", "interpolate")
WHAT = {
    "models": "open_clip checkpoint and model card, a folder per model: open_clip.create_model('local-dir:…'), and "
    "the folder can be pushed to Hugging Face's hub",
    "robustbench": "one JSON per model with the keys of RobustBench's model_info",
    "results": "all cells as one tidy parquet file, results.parquet",
    "figures": "every figure as SVG and PDF, as it stands when the report opens",
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(f"{name:12} {about}" for name, about in WHAT.items())
    parser.add_argument("what", choices=WHAT, metavar="what", help=f"{' | '.join(WHAT)} (explained below)")
    parser.add_argument("names", nargs="*", metavar="model", help="ids of models such as rn.tecoa.s0 (default: all)")
    parser.add_argument("--to", type=name_of_file, default=Path("exports"), metavar="FOLDER", help="default: exports")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    jobs = models(plan)
    if given.names and given.what in ("results", "figures"):
        raise ZsrError(f"export {given.what}: takes no names of models, it is about all of them")
    for name in given.names:
        if name not in jobs:
            raise unknown("model", name, jobs)
    wanted = {name: jobs[name] for name in given.names or jobs}
    make_folder("--to", given.to)
    write = {"models": _models, "robustbench": _robustbench, "results": _results, "figures": _figures}[given.what]
    with refusing("--to", given.to):
        return 0 if write(plan, wanted, given) else 1


def models(plan: Plan) -> dict[str, PlannedJob]:
    """id -> the job that makes the model."""
    return {job.wildcards["model"]: job for job in plan.jobs.values() if job.rule in MODELS}


def _cells(plan: Plan) -> "pd.DataFrame":
    from zsr.report import csv_tables

    record = plan.results / plan.tables.record
    return csv_tables.read(record.parent, read_record(record, plan.tables.hash))["cells"]


def _models(plan: Plan, wanted: dict[str, PlannedJob], given: argparse.Namespace) -> int:
    from zsr.export import open_clip
    from zsr.export.model_card import card
    from zsr.models.backbone import definition_of
    from zsr.results import models as loading

    cells, done = _cells(plan), 0
    for name, job in wanted.items():
        backbone, method = loading.model(plan, job)
        definition = definition_of(loading.weights(plan, job.needs["backbone"])[1])
        folder = given.to / name
        try:
            open_clip.checkpoint(folder, name, backbone, method, definition)
        except ZsrError as error:
            if given.names:
                raise
            print(f"left out: {error}")  # of all models, those that can be exported are
            continue
        record = read_record(plan.results / job.record, job.hash)
        facts = {"spec": job.hash, "weights (sha256)": record["digests"]["weights"],
                 "backbone": job.needs["backbone"].hash, "torch": record["versions"]["torch"]}  # fmt: skip
        mine = cells[cells["id"] == name]
        if mine.empty:
            raise ZsrError(f"{name}: no cell of the tables is about it; its card would be empty")
        (folder / "README.md").write_text(card(name, mine, job.spec, definition, facts), encoding="utf-8")
        print(folder)
        done += 1
    return done


def _robustbench(plan: Plan, wanted: dict[str, PlannedJob], given: argparse.Namespace) -> int:
    from zsr.export.model_card import robustbench

    cells = _cells(plan)
    for name in wanted:
        path = given.to / f"{name}.json"
        write_json(path, robustbench(name, cells[cells["id"] == name]))
        print(path)
    return len(wanted)


def _results(plan: Plan, wanted: dict[str, PlannedJob], given: argparse.Namespace) -> int:
    path = given.to / "results.parquet"
    with replacing(path) as temporary:
        _cells(plan).to_parquet(temporary, index=False, compression="zstd")
    print(path)
    return 1


def _figures(plan: Plan, wanted: dict[str, PlannedJob], given: argparse.Namespace) -> int:
    import json

    from zsr.report.figures import vega

    record = read_record(plan.results / plan.figures.record, plan.figures.hash)
    charts = json.loads(
        check_digest(plan.results / plan.figures.outputs["charts"], record["digests"]["charts"]).read_text(
            encoding="utf-8"
        )
    )
    for name, spec in charts.items():
        picture = vega.svg(spec)
        (given.to / f"{name}.svg").write_text(picture, encoding="utf-8")
        (given.to / f"{name}.pdf").write_bytes(vega.pdf(picture))
        print(given.to / f"{name}.svg", given.to / f"{name}.pdf")
    return len(charts)

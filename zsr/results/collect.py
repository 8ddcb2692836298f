"""Reads the finished cells and models of a plan with their records, for tables and report.

Files are found through the plan, so leftovers of an older config are ignored. A record of another spec is an error.
"""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from zsr.guard.watch import unwatched
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.records import check_digest, read_record

if TYPE_CHECKING:
    from zsr.config.entries import ModelEntry
    from zsr.plan.cell_request import CellRequest


def rebuild(asked: dict, results: str) -> Plan:
    """The plan of a job that reads everything, from the config in its spec."""
    with unwatched():  # what it reads is in the spec: as the config, and as the digest of the plan's cells
        return Plan({**asked, "results": results})


def cells(plan: Plan) -> list[dict]:
    """The summaries of all cells in the order of the config, with the names that the specs leave out."""
    return [_cell(plan, job) for job in plan.cells]


def models(plan: Plan) -> list[dict]:
    """The manifests of backbones and fine-tuned models."""
    manifests = []
    for job in plan.trained:
        record = read_record(plan.results / job.record, job.hash)
        cost = record.get("cost", {})
        manifests.append(
            {
                **record,
                "id": next(iter(job.wildcards.values())),
                "job": job.rule,
                "seconds": cost.get("train_seconds", record["seconds"]),
                "peak_memory": cost["peak_megabytes"] * 2**20 if "peak_megabytes" in cost else None,
                "images_per_second": cost.get("images_per_second"),
                "seconds_per_step": cost.get("seconds_per_step"),
                **{f"{way}_per_image": count for way, count in cost.get("passes_per_image", {}).items()},
            }
        )
    return manifests


def logs(plan: Plan) -> dict[str, list[dict]]:
    """model -> its training log, one entry a step."""
    logs_of = {}
    for job in plan.trained:
        record = read_record(plan.results / job.record, job.hash)
        path = check_digest(plan.results / job.outputs["log"], record["digests"]["log"])
        logs_of[next(iter(job.wildcards.values()))] = [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
        ]
    return logs_of


def _cell(plan: Plan, job: PlannedJob) -> dict:
    record = read_record(plan.results / job.record, job.hash)
    request = plan.requests[job.record]
    spec = job.spec
    total = plan.config.datasets[request.dataset].splits[job.needs["data"].wildcards["split"]]
    return {
        **record,
        "path": f"{plan.config.results}/{job.outputs['rows']}",
        "seconds": seconds(record),
        "model": model(plan, job),
        "dataset": {
            "name": request.dataset,
            **about(plan, request.model, request.dataset),
            "images": record["n"],
            "total": total,
        },
        "protocol": request.protocol.name,
        "attack": {**spec["settings"], "name": spec["attack"], "label": label(request)},
        "follows": ", ".join(dict.fromkeys(spec.get("follows", {}).values())),
        "worst_case": request.protocol.worst_case,
        "eps": spec["eps"],
        "threat": spec["norm"],
    }


def seconds(record: dict) -> float:
    """What a cell took; a merged one says what the merge took, and with `shard_seconds` the sums over its shards."""
    shards = record["start_seconds"] + record["attack_seconds"] if "shard_seconds" in record else 0.0
    return round(record["seconds"] + shards, 3)


def model(plan: Plan, job: PlannedJob) -> dict:
    """What the config says of the model of a cell."""
    request = plan.requests[job.record]
    entry = request.model
    return {
        "id": job.wildcards["model"],
        "name": entry.name + ("" if entry.zero_shot else " (not zero-shot)"),
        "method": entry.method,
        "zero_shot": entry.zero_shot,
        "backbone": request.backbone,
        "train_eps": request.train_eps,
        "trained_on": request.trained_on,
        "settings": entry.settings if entry.trains else {},
        "recipe": entry.recipe if entry.trains else {},
        "origin": plan.config.backbones[request.backbone].origin,
        "published_method": entry.published.method if entry.published else None,
        "seed": request.seed if entry.trains else None,
    }


def label(request: "CellRequest") -> str:
    """The name of a cell's attack in tables and figures, with what its verdicts were copied from, if they were."""
    after = request.attack.after
    marks = [f"after {after}"] if after else []
    marks += ["over ε"] if request.protocol.chain_eps else []
    return f"{request.attack.name} ({', '.join(marks)})" if marks else request.attack.name


def about(plan: Plan, entry: "ModelEntry", dataset: str) -> dict:
    """How a dataset stands to those that the model, its teacher or its ends were fine-tuned on.

    A model that is not zero-shot is judged as its neighbours are: its own set stays zero-shot for all other rows.
    """
    definitions = plan.config.datasets
    classes = definitions[dataset].classes
    seen_sets = entry.seen_sets if entry.zero_shot else (plan.config.finetune.source_set.dataset,)
    learnt = [name for seen in seen_sets for name in definitions[seen].classes]
    return {
        "classes": len(classes),
        "templates": len(definitions[dataset].templates),
        "chance": 1 / len(classes),
        "is_source": dataset in seen_sets,
        "shares_words": bool(words(classes) & words(learnt)),
    }


def words(names: Iterable[str]) -> set[str]:
    """The words of class names, as far as two label sets can share one."""
    said = {word for name in names for word in name.lower().replace("-", " ").replace("_", " ").split()}
    return said - {"a", "an", "the", "of"}

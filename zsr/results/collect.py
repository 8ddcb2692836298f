"""Reads the finished cells and models of a plan with their records, for tables and report.

Files are found through the plan, so leftovers of an older config are ignored. A record of another spec is an error.
"""

import json
from collections.abc import Iterable

from zsr.guard.watch import unwatched
from zsr.plan.graph import Job
from zsr.plan.plan import Plan
from zsr.storage.records import check_digest, read_record


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


def _cell(plan: Plan, job: Job) -> dict:
    record = read_record(plan.results / job.record, job.hash)
    asked = plan.asked[job.record]
    spec = job.spec
    protocol = _protocol(plan, job)
    total = plan.config["datasets"][asked.dataset]["splits"][job.needs["data"].wildcards["split"]]
    return {
        **record,
        "path": f"{plan.config['results']}/{job.outputs['rows']}",
        "seconds": seconds(record),
        "model": model(plan, job),
        "dataset": {
            "name": asked.dataset,
            **about(plan, asked.entry, asked.dataset),
            "images": record["n"],
            "total": total,
        },
        "protocol": job.wildcards["protocol"],
        "attack": {**spec["settings"], "name": spec["attack"], "label": label(plan, job)},
        "follows": ", ".join(dict.fromkeys(spec.get("follows", {}).values())),
        "worst_case": protocol["worst_case"],
        "eps": spec["eps"],
        "threat": spec["norm"],
    }


def seconds(record: dict) -> float:
    """What a cell took; a merged one says what the merge took, and with `shard_seconds` the sums over its shards."""
    shards = record["start_seconds"] + record["attack_seconds"] if "shard_seconds" in record else 0.0
    return round(record["seconds"] + shards, 3)


def model(plan: Plan, job: Job) -> dict:
    """What the config says of the model of a cell."""
    asked = plan.asked[job.record]
    return {
        "id": job.wildcards["model"],
        "name": asked.entry["name"] + ("" if asked.entry["zero_shot"] else " (not zero-shot)"),
        "method": asked.entry["method"],
        "zero_shot": asked.entry["zero_shot"],
        "backbone": asked.backbone,
        "train_eps": asked.train_eps,
        "trained_on": asked.trained_on,
        "settings": asked.entry["settings"] if asked.entry["trains"] else {},
        "recipe": asked.entry["source"]["recipe"] if asked.entry["trains"] else {},
        "origin": plan.origin(asked.backbone),
        "published_method": asked.entry.get("published", {}).get("method"),
        "seed": asked.seed if asked.entry["trains"] else None,
    }


def label(plan: Plan, job: Job) -> str:
    """The name of a cell's attack in tables and figures, with what its verdicts were copied from, if they were."""
    protocol, name = _protocol(plan, job), job.wildcards["attack"]
    after = next(attack["after"] for attack in protocol["attacks"] if attack["name"] == name)
    marks = [f"after {after}"] if after else []
    marks += ["over ε"] if protocol["chain_eps"] else []
    return f"{name} ({', '.join(marks)})" if marks else name


def _protocol(plan: Plan, job: Job) -> dict:
    return next(p for p in plan.config["protocols"] if p["name"] == job.wildcards["protocol"])


def about(plan: Plan, entry: dict, dataset: str) -> dict:
    """How a dataset stands to those that the model, its teacher or its ends were fine-tuned on.

    A model that is not zero-shot is judged as its neighbours are: its own set stays zero-shot for all other rows.
    """
    datasets = plan.config["datasets"]
    classes = datasets[dataset]["classes"]
    sources = entry["sources"] if entry["zero_shot"] else [plan.config["finetune"]["given"]["dataset"]]
    learnt = [name for source in sources for name in datasets[source]["classes"]]
    return {
        "classes": len(classes),
        "templates": len(plan.config["datasets"][dataset]["templates"]),
        "chance": 1 / len(classes),
        "is_source": dataset in sources,
        "shares_words": bool(words(classes) & words(learnt)),
    }


def words(names: Iterable[str]) -> set[str]:
    """The words of class names, as far as two label sets can share one."""
    said = {word for name in names for word in name.lower().replace("-", " ").replace("_", " ").split()}
    return said - {"a", "an", "the", "of"}

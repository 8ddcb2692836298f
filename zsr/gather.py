"""What tables and report read: the plan's cells and models with their records, refused by name if not the plan's.

Nobody globs: an orphan of an older config lies beside the results and is never seen.
"""

import json
from collections.abc import Iterable

from zsr.plan import Job, Plan
from zsr.store import check_digest, read_record


def rebuild(asked: dict, results: str) -> Plan:
    """The plan of a job that reads everything, from the config in its spec."""
    return Plan({**asked, "results": results})


def cells(plan: Plan) -> list[dict]:
    """The summaries of all cells in the order of the config, with the names that the specs leave out."""
    return [_cell(plan, job) for job in plan.cells]


def models(plan: Plan) -> list[dict]:
    """The manifests of backbones and fine-tuned models."""
    found = []
    for job in plan.trained:
        record = read_record(plan.results / job.record, job.hash)
        cost = record.get("cost", {})
        found.append(
            {
                **record,
                "id": next(iter(job.wildcards.values())),
                "job": job.rule,
                "seconds": cost.get("train_seconds", record["seconds"]),
                "peak_memory": cost["peak_megabytes"] * 2**20 if "peak_megabytes" in cost else None,
                "images_per_second": cost.get("images_per_second"),
            }
        )
    return found


def logs(plan: Plan) -> dict[str, list[dict]]:
    """model -> its training log, one entry a step."""
    found = {}
    for job in plan.trained:
        record = read_record(plan.results / job.record, job.hash)
        path = check_digest(plan.results / job.outputs["log"], record["digests"]["log"])
        found[next(iter(job.wildcards.values()))] = [json.loads(line) for line in path.read_text().splitlines()]
    return found


def _cell(plan: Plan, job: Job) -> dict:
    record = read_record(plan.results / job.record, job.hash)
    asked = plan.asked[job.record]
    spec = job.spec
    return {
        **record,
        "path": f"{plan.config['results']}/{job.outputs['rows']}",
        "model": {
            "id": job.wildcards["model"],
            "name": asked.entry["name"],
            "method": asked.entry["method"],
            "backbone": asked.backbone,
            "train_eps": asked.train_eps,
            "seed": asked.seed if asked.entry["trains"] else None,
        },
        "dataset": {"name": asked.dataset, **about(plan, asked.entry, asked.dataset), "images": record["n"]},
        "protocol": job.wildcards["protocol"],
        "attack": {**spec["settings"], "name": spec["attack"], "label": job.wildcards["attack"]},
        "eps": spec["eps"],
        "threat": spec["norm"],
    }


def about(plan: Plan, entry: dict, dataset: str) -> dict:
    """How a dataset stands to the one that the model was fine-tuned on."""
    classes = plan.config["datasets"][dataset]["classes"]
    source = entry["source"]["dataset"]
    return {
        "classes": len(classes),
        "chance": 1 / len(classes),
        "is_source": dataset == source,
        "shares_words": bool(words(classes) & words(plan.config["datasets"][source]["classes"])),
    }


def words(names: Iterable[str]) -> set[str]:
    """The words of class names, as far as two label sets can share one."""
    said = {word for name in names for word in name.lower().replace("-", " ").replace("_", " ").split()}
    return said - {"a", "an", "the", "of"}

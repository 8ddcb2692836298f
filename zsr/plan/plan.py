"""From a config to every job that it asks for: cells, and what reads them all. What they are made of: ingredients.py.

Nothing here imports torch: every cluster job parses the Snakefile again.
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from zsr.config import complete as configs
from zsr.config import device, lineage, protocols
from zsr.epsilon import eps_text
from zsr.hashing import canonical, short_hash
from zsr.plan import gallery_cells
from zsr.plan.graph import Asked, Job
from zsr.plan.upstream import Ingredients, component, kind_of

PLACES = ("results", "report", "data_root", "download", "cells_per_gpu")  # keys that no number depends on


class Plan(Ingredients):
    """All jobs of a config, each made once, by rule and wildcards."""

    def __init__(self, raw: dict) -> None:
        raw = device.resolve_auto(raw)
        super().__init__(configs.complete(raw))
        self.raw = {**raw, "device": self.config["device"]}
        self.results = Path(self.config["results"])
        self.asked: dict[str, Asked] = {}  # record of a cell -> what asked for it
        self.left_out: dict[str, list[str]] = {}  # model that is not zero-shot -> sets that it cannot classify
        self.cells = [cell for protocol in self.config["protocols"] for cell in self._protocol(protocol)]
        self.trained = [job for job in self.jobs.values() if job.rule in ("finetune", "pretrain")]
        self.sheets = self._sheets()
        self.tables = self._tables()
        self.figures = self._figures()
        self.shown = gallery_cells.choose(
            (cell for cell in self.cells if stores(cell)), self.asked, self.config["seed"]
        )
        self.gallery = self._gallery()
        self.report = self._report()

    def _protocol(self, protocol: dict) -> Iterable[Job]:
        for entry in self.config["models"]:
            for backbone in entry["backbones"]:
                for seed in entry["seeds"] if entry["trains"] else entry["seeds"][:1]:
                    for dataset in protocol["datasets"]:
                        if not configs.can_classify(self.config, entry, dataset):
                            self._leave_out(entry["name"], dataset)
                            continue
                        for attack in protocol["attacks"]:
                            for eps in protocol["eps"]:
                                yield self.cell(protocol, entry, backbone, seed, dataset, attack, eps)

    def _leave_out(self, name: str, dataset: str) -> None:
        sets = self.left_out.setdefault(name, [])
        sets += [dataset] if dataset not in sets else []

    def cell(
        self, protocol: dict, entry: dict, backbone: str, seed: int, dataset: str, attack: dict, eps: Fraction
    ) -> Job:
        """One model on one set under one attack at one ε."""
        model = self.model(entry["name"], backbone, seed)
        needs = {
            "model": model,
            "backbone": self.base(entry["name"], backbone, seed),
            "head": self.texts(entry["name"], backbone, seed, dataset),
            "data": self.prepare(dataset, protocol["split"], protocol["transforms"][dataset]),
        }
        text = eps_text(eps)
        spec = {key: protocol[key] for key in ("norm", "batch", "precision", "store")}
        spec |= {"images": protocols.images(self.config, protocol, dataset), "verdict": attack["verdict"]}
        spec |= {"attack": attack["attack"], "settings": attack["settings"], "eps": text, "method": entry["loads"]}
        spec |= {"seed": self.config["seed"], "kernels": self.kernels(), **self.machine()}
        roots = [component("attacks", attack["attack"]), component("methods", entry["loads"])]
        if attack["source"]:  # the examples are made on another model
            source = self.models[attack["source"]]
            at = lineage.seed_of(source, seed)
            needs["source"] = self.model(source["name"], backbone, at)
            needs["source_head"] = self.texts(source["name"], backbone, at, dataset)
            if (base := self.base(source["name"], backbone, at)) is not needs["backbone"]:
                needs["source_backbone"] = base
            roots.append(component("methods", source["loads"]))
        chain = {}
        for role, (other, at) in protocols.follows(protocol, attack, eps).items():
            needs[role] = self.cell(protocol, entry, backbone, seed, dataset, other, at)
            chain[role] = f"{other['name']} {eps_text(at)}"
        if chain:
            spec["follows"] = chain
        wildcards = {
            "protocol": protocol["name"],
            "model": model.wildcards["model"],
            "dataset": dataset,
            "attack": attack["name"],
            "eps": text.replace("/", "_"),
        }
        roots.append(kind_of(self.backbones[backbone]))
        job = self._evaluated(protocols.shards(self.config, protocol, dataset), wildcards, spec, needs, roots)
        self.asked[job.record] = Asked(entry, backbone, seed, dataset)
        return job

    def _evaluated(self, shards: int, wildcards: dict, spec: dict, needs: dict[str, Job], roots: list[str]) -> Job:
        """The job that makes a cell: one evaluation, or several of a part of the images each and their merge."""
        if shards == 1:
            return self.add("evaluate", wildcards, spec, needs, "evaluate", roots)
        parts = {}
        for i in range(shards):
            place = {**wildcards, "shard": f"{i}-of-{shards}"}
            part = {**spec, "shard": [i, shards], "store": "none" if spec["store"] == "none" else "examples"}
            parts[f"shard-{i}"] = self.add("shard", place, part, needs, "evaluate", roots)
        return self.add("merge", wildcards, {**spec, "shards": shards}, {**needs, **parts}, "evaluate")

    # -- what reads everything ---------------------------------------------------------------------------------------

    def _sheets(self) -> dict[str, Job]:
        """dataset -> the preparation that the report shows a contact sheet of: the split that is used first."""
        found: dict[str, Job] = {}
        for (rule, _), job in self.jobs.items():
            if rule == "prepare":
                found.setdefault(job.wildcards["dataset"], job)
        return found

    def _tables(self) -> Job:
        # the list of cells may be long: its digest is in the spec, and the job makes the list again from the config
        spec = {"config": self._asked(), "cells": self.digest(self.cells), "sets": self._about()}
        return self.add("tables", {}, spec, {}, "report", ["zsr/report/tables/build.py"])

    def _figures(self) -> Job:
        spec = {"config": self._asked(), "trained": self.digest(self.trained)}
        return self.add("figures", {}, spec, {"tables": self.tables}, "report", ["zsr/report/figures/build.py"])

    def _gallery(self) -> Job:
        spec = {"config": self._asked() if self.shown else None, "cells": self.digest(self.shown)}
        roots = {component("methods", cell.spec["method"]) for cell in self.shown}
        roots |= {kind_of(self.backbones[self.asked[cell.record].backbone]) for cell in self.shown}
        return self.add("gallery", {}, spec, {}, "evaluate", roots)

    def _report(self) -> Job:
        sheets = self.digest(self.sheets.values())
        spec = {"config": self._asked(), "title": self.config["report"]["title"], "sheets": sheets}
        needs = {"tables": self.tables, "figures": self.figures, "gallery": self.gallery}
        return self.add("report", {}, spec, needs, "report", ["zsr/report/page/build.py"])

    def reads(self, job: Job) -> dict[str, list[Job]]:
        """role -> the jobs whose results a job reads: what it needs, and for the last jobs the plan's lists."""
        if job.rule == "merge":  # what its shards need it does not read itself
            return {role: [need] for role, need in job.needs.items() if need.rule == "shard"}
        roles = {role: [need] for role, need in job.needs.items()} | self._lists.get(job, {})
        return {role: jobs for role, jobs in roles.items() if jobs}

    @cached_property
    def _lists(self) -> dict[Job, dict[str, list[Job]]]:
        everything = {"cells": self.cells, "trained": self.trained}
        return {
            self.tables: everything,
            self.figures: {"trained": self.trained},
            self.gallery: {"cells": self.shown, "needed": self.upstream(self.shown)},
            self.report: everything | {"sheets": list(self.sheets.values())},
        }

    def _asked(self) -> dict:
        """The config as it was written, as far as tables depend on it: a job makes the same plan from it again, also
        on a machine where `device: auto` is another device."""
        return {key: value for key, value in self.raw.items() if key not in PLACES}

    def _about(self) -> str:
        """What tables and report say of datasets, protocols and published models beside the numbers."""
        said = {name: self.config["datasets"][name] for name in sorted(self.config["datasets"])}
        protocols = [[protocol[key] for key in ("worst_case", "chain_eps")] for protocol in self.config["protocols"]]
        published = [str(entry.get("published")) for entry in self.config["models"]]
        return short_hash(canonical({"datasets": said, "protocols": protocols, "published": published}))


def stores(cell: Job) -> bool:
    """Whether a cell keeps its adversarial examples."""
    return cell.spec["store"] != "none"

"""From a config to every job that it asks for: what cells read (upstream.py), cells (cells.py), tables and report.

Nothing here imports torch: every cluster job parses the Snakefile again.
"""

from collections.abc import Iterator
from functools import cached_property
from itertools import product
from pathlib import Path

from zsr.config import device
from zsr.config.complete import complete
from zsr.config.datasets import facts_of
from zsr.config.entries import ModelEntry, Written
from zsr.config.models import can_classify
from zsr.config.published import published_facts
from zsr.hashing import canonical, short_hash
from zsr.plan import gallery_cells
from zsr.plan.cell_request import CellRequest
from zsr.plan.cells import CellJobs, stores_examples
from zsr.plan.graph import Graph, PlannedJob, Spec, digest_of, needs_of
from zsr.plan.upstream import UpstreamJobs, component, kind_of

PLACES = ("results", "report", "data_root", "download", "cells_per_gpu")  # keys that no number depends on


class Plan:
    """All jobs of a config, each made once, by rule and wildcards."""

    def __init__(self, raw: Written) -> None:
        raw = device.resolve_auto(raw)
        self.config = complete(raw)
        # as it was written, as far as tables depend on it: a job makes the same plan from it again, also on a machine
        # where `device: auto` is another device
        written = {**raw, "device": self.config.device}
        self._config_of_numbers: Spec = {key: value for key, value in written.items() if key not in PLACES}
        self.results = Path(self.config.results)
        self.graph = Graph()
        self.jobs = self.graph.jobs
        self.upstream = UpstreamJobs(self.graph, self.config)
        cells = CellJobs(self.graph, self.upstream)
        self.requests = cells.requests  # record of a cell -> what the config asks for with it
        self.cells = [cells.add(request) for request in self._requests()]
        self.trained = [job for job in self.jobs.values() if job.rule in ("finetune", "pretrain")]
        self.sheets = self._sheets()
        self.tables = self._tables()
        self.figures = self._figures()
        stored = [cell for cell in self.cells if stores_examples(cell)]
        self.gallery_cells = gallery_cells.choose(stored, self.requests, self.config.seed)
        self.gallery = self._gallery()
        self.report = self._report()

    def _requests(self) -> Iterator[CellRequest]:
        """The cells of all protocols, in the order of the config."""
        for protocol in self.config.protocols.values():
            for model in self.config.models.values():
                sets = [name for name in protocol.datasets if self._can_classify(model, name)]
                for backbone, seed, dataset in product(model.backbones, model.seeds, sets):
                    for attack, eps in product(protocol.attacks, protocol.eps):
                        yield CellRequest(protocol, model, backbone, seed, dataset, attack, eps)

    @property
    def left_out(self) -> dict[str, list[str]]:
        """Model that is not zero-shot -> the sets of the protocols that it cannot classify."""
        asked = dict.fromkeys(name for protocol in self.config.protocols.values() for name in protocol.datasets)
        sets = {
            model.name: [name for name in asked if not self._can_classify(model, name)]
            for model in self.config.models.values()
        }
        return {model: names for model, names in sets.items() if names}

    def _can_classify(self, model: ModelEntry, dataset: str) -> bool:
        return can_classify(model, dataset, self.config.datasets)

    # -- what reads everything ---------------------------------------------------------------------------------------

    def _sheets(self) -> dict[str, PlannedJob]:
        """dataset -> the preparation that the report shows a contact sheet of: the split that is used first."""
        first: dict[str, PlannedJob] = {}
        for (rule, _), job in self.jobs.items():
            if rule == "prepare":
                first.setdefault(job.wildcards["dataset"], job)
        return first

    def _tables(self) -> PlannedJob:
        # the list of cells may be long: its digest is in the spec, and the job makes the list again from the config
        spec = {"config": self._config_of_numbers, "cells": digest_of(self.cells), "sets": self._described()}
        return self.graph.add("tables", {}, spec, {}, "report", ["zsr/report/tables/build.py"])

    def _figures(self) -> PlannedJob:
        spec = {"config": self._config_of_numbers, "trained": digest_of(self.trained)}
        return self.graph.add("figures", {}, spec, {"tables": self.tables}, "report", ["zsr/report/figures/build.py"])

    def _gallery(self) -> PlannedJob:
        cells = self.gallery_cells
        spec = {"config": self._config_of_numbers if cells else None, "cells": digest_of(cells)}
        roots = {component("methods", cell.spec["method"]) for cell in cells}
        roots |= {kind_of(self.config.backbones[self.requests[cell.record].backbone]) for cell in cells}
        return self.graph.add("gallery", {}, spec, {}, "evaluate", roots)

    def _report(self) -> PlannedJob:
        spec = {
            "config": self._config_of_numbers,
            "title": self.config.title,
            "sheets": digest_of(self.sheets.values()),
        }
        needs = {"tables": self.tables, "figures": self.figures, "gallery": self.gallery}
        return self.graph.add("report", {}, spec, needs, "report", ["zsr/report/page/build.py"])

    def reads(self, job: PlannedJob) -> dict[str, list[PlannedJob]]:
        """role -> the jobs whose results a job reads: what it needs, and for the last jobs the plan's lists."""
        if job.rule == "merge":  # what its shards need it does not read itself
            return {role: [need] for role, need in job.needs.items() if need.rule == "shard"}
        roles = {role: [need] for role, need in job.needs.items()} | self._lists.get(job, {})
        return {role: jobs for role, jobs in roles.items() if jobs}

    @cached_property
    def _lists(self) -> dict[PlannedJob, dict[str, list[PlannedJob]]]:
        everything = {"cells": self.cells, "trained": self.trained}
        return {
            self.tables: everything,
            self.figures: {"trained": self.trained},
            self.gallery: {"cells": self.gallery_cells, "needed": needs_of(self.gallery_cells)},
            self.report: everything | {"sheets": list(self.sheets.values())},
        }

    def _described(self) -> str:
        """A hash of what tables and report say of datasets, protocols and published models beside the numbers."""
        datasets = {name: facts_of(definition) for name, definition in self.config.datasets.items()}
        protocols = [[protocol.worst_case, protocol.chain_eps] for protocol in self.config.protocols.values()]
        published = [str(published_facts(model.published)) for model in self.config.models.values()]
        return short_hash(canonical({"datasets": datasets, "protocols": protocols, "published": published}))

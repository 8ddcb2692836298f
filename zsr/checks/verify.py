"""`zsr verify`: computes every cell again from its stored examples, and the tables from the rows."""

from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch

from zsr.checks.recount_tables import Counted, Recount
from zsr.checks.rescore_examples import BATCH, Finding, Network, examine
from zsr.epsilon import eps_of
from zsr.errors import ZsrError
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.progress import Progress
from zsr.results import collect
from zsr.storage.examples import parts, pixels, stored
from zsr.storage.records import check_digest, read_record
from zsr.storage.rows import read_rows

Rows = dict[str, np.ndarray]


@dataclass
class Checked:
    """Sums over cells."""

    examples: int = 0
    confirmed: int = 0
    clean: int = 0
    close: int = 0
    asked: int = 0  # images that fell in cells whose examples the config wants stored
    faults: list[str] = field(default_factory=list)
    rows: dict[str, Rows] = field(default_factory=dict, repr=False)  # record -> its rows


def cells(plan: Plan, jobs: list[PlannedJob]) -> Checked:
    """Look at every cell again; those of one model and one dataset share a network and its clean predictions."""
    found = Checked()
    progress = Progress("verify", len(jobs))
    torch.set_num_threads(plan.config.threads)
    order = sorted(jobs, key=lambda job: (job.needs["model"].record, job.needs["data"].record, job.record))
    for _, same in groupby(order, key=lambda job: (job.needs["model"].record, job.needs["data"].record)):
        shared = None
        for job in same:
            progress.step()
            try:
                shared = shared or Shared(plan, job)
                finding, rows, count = shared.look(job)
            except ZsrError as error:  # one that cannot be read does not keep the others from being looked at
                found.faults.append(str(error))
                continue
            found.examples += count
            found.confirmed += finding.confirmed
            found.clean += finding.clean
            found.close += finding.close
            found.asked += int((rows["step"] > 0).sum()) if job.spec["store"] != "none" else 0
            found.faults += [f"{plan.results / job.record}: {line}" for line in finding.faults]
            found.rows[job.record] = rows
    return found


class Shared:
    """What the cells of one model on one dataset share: network, images, clean predictions."""

    def __init__(self, plan: Plan, job: PlannedJob) -> None:
        self.plan, data = plan, job.needs["data"]
        self.network = Network(plan, job)
        self.images = np.load(plan.results / data.outputs["images"], mmap_mode="r", allow_pickle=False)
        self.labels = np.load(plan.results / data.outputs["labels"], allow_pickle=False)
        self.known: dict[bytes, np.ndarray] = {}  # cells of several protocols may look at different images

    def look(self, job: PlannedJob) -> tuple[Finding, Rows, int]:
        """What was found, the cell's rows, how many examples it stores."""
        record = read_record(self.plan.results / job.record, job.hash)
        rows = read(self.plan, job, record)
        path = check_digest(self.plan.results / job.outputs["examples"], record["digests"]["examples"])
        kept = stored(path)
        eps = float(eps_of(job.spec["eps"], "eps", job.spec["norm"]))
        examples, clean = parts(path, self.images, BATCH), self.clean(rows["index"])
        finding = examine(rows, kept, examples, self.images, self.labels, job.spec, eps, self.network, clean)
        counts = {
            "n": len(rows["index"]),
            "clean_correct": int((rows["clean"] == rows["label"]).sum()),
            "robust_correct": int(rows["robust"].sum()),
            "examples": len(kept),
        }
        finding.faults += [
            f"its record says {name} = {record[name]}, its rows say {count}"
            for name, count in counts.items()
            if record[name] != count
        ]
        return finding, rows, len(kept)

    def clean(self, index: np.ndarray) -> np.ndarray:
        """The network's outputs of clean images."""
        key = index.tobytes()
        if key not in self.known:
            chunks = np.split(index, range(BATCH, len(index), BATCH))
            self.known[key] = np.concatenate([self.network(pixels(self.images[chunk])) for chunk in chunks])
        return self.known[key]


def read(plan: Plan, job: PlannedJob, record: dict) -> Rows:
    """The rows of a cell as plain arrays, in the order of the split."""
    table = read_rows(plan.results / job.outputs["rows"], record["digests"]["rows"])
    columns = {name: np.asarray(table[name].to_pylist()) for name in ("felled_by", "felled_in")}
    columns |= {name: table[name].to_numpy() for name in table.column_names if name not in columns}
    order = np.argsort(columns["index"], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def tables(plan: Plan, rows: dict[str, Rows]) -> tuple[int, list[str]]:
    """How many numbers of the tables were counted again, and a line for each that is wrong."""
    worst = {name: protocol.worst_case for name, protocol in plan.config.protocols.items()}
    counted = []
    for job in plan.cells:
        request, mine = plan.requests[job.record], rows[job.record]
        about = collect.about(plan, request.model, request.dataset)
        counted.append(
            Counted(
                protocol=job.wildcards["protocol"],
                id=job.wildcards["model"],
                backbone=request.backbone,
                dataset=request.dataset,
                attack=collect.label(request),
                eps=job.spec["eps"],
                is_source=about["is_source"],
                shares_words=about["shares_words"],
                worst_case=worst[job.wildcards["protocol"]],
                index=mine["index"],
                clean=mine["clean"] == mine["label"],
                robust=mine["robust"],
            )
        )
    done = Recount((plan.results / plan.tables.record).parent, counted).run()
    return done.checked, done.faults

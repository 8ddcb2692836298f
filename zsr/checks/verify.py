"""The work of `zsr verify`: scores the stored examples of every cell again, and recounts the tables from the rows."""

from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch

from zsr.checks.recount_tables import CellRows, Recount
from zsr.checks.rescore_examples import BATCH, CellFinding, Network, rescore_cell
from zsr.data import prepared
from zsr.epsilon import eps_of
from zsr.errors import ZsrError
from zsr.plan.cells import stores_examples
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.progress import Progress
from zsr.results import collect
from zsr.storage.examples import parts, pixels, stored
from zsr.storage.records import check_digest, read_record
from zsr.storage.rows import read_rows

Rows = dict[str, np.ndarray]
Split = tuple[np.ndarray, np.ndarray]  # images, labels


@dataclass
class VerifySummary:
    """What checking all cells brought, as sums over the cells."""

    examples: int = 0  # that are stored
    confirmed: int = 0  # of the examples
    clean: int = 0  # clean predictions that are confirmed
    close: int = 0  # examples and clean predictions whose margin decides nothing
    wanted: int = 0  # images that were fooled in cells whose examples the config wants stored
    faults: list[str] = field(default_factory=list)
    rows: dict[str, Rows] = field(default_factory=dict, repr=False)  # record -> its rows

    def add(self, finding: CellFinding) -> None:
        self.examples += finding.examples
        self.confirmed += finding.confirmed
        self.clean += finding.clean
        self.close += finding.close


def rescore_cells(plan: Plan, jobs: list[PlannedJob]) -> VerifySummary:
    """Check every cell; those of one model and one dataset share a network and its clean predictions."""
    summary = VerifySummary()
    progress = Progress("verify", len(jobs))
    torch.set_num_threads(plan.config.threads)
    order = sorted(jobs, key=lambda job: (*_model_and_data(job), job.record))
    splits: dict[str, Split] = {}  # record -> what it holds, opened once
    for _, same in groupby(order, key=_model_and_data):
        pair = None
        for job in same:
            progress.step()
            try:
                data = job.needs["data"]
                if data.record not in splits:
                    splits[data.record] = open_split(plan, data)
                pair = pair or ModelOnData(plan, job, splits[data.record])
                finding, rows = pair.rescore(job)
            except ZsrError as error:  # one that cannot be read does not keep the others from being checked
                summary.faults.append(str(error))
                continue
            summary.add(finding)
            summary.wanted += int((rows["step"] > 0).sum()) if stores_examples(job) else 0
            summary.faults += [f"{plan.results / job.record}: {line}" for line in finding.faults]
            summary.rows[job.record] = rows
    return summary


def _model_and_data(job: PlannedJob) -> tuple[str, str]:
    return job.needs["model"].record, job.needs["data"].record


def open_split(plan: Plan, data: PlannedJob) -> Split:
    """The images and labels of a preparation, as cells read them."""
    return prepared.read(plan.results / data.outputs["images"], read_record(plan.results / data.record, data.hash))


class ModelOnData:
    """What the cells of one model on one dataset share: network, images, clean predictions."""

    def __init__(self, plan: Plan, job: PlannedJob, split: Split) -> None:
        self.plan = plan
        self.network = Network(plan, job)
        self.images, self.labels = split
        self._clean: dict[bytes, np.ndarray] = {}  # cells of several protocols may take different images

    def rescore(self, job: PlannedJob) -> tuple[CellFinding, Rows]:
        """What checking a cell brought, and the cell's rows."""
        record = read_record(self.plan.results / job.record, job.hash)
        rows = read_ordered_rows(self.plan, job, record)
        path = check_digest(self.plan.results / job.outputs["examples"], record["digests"]["examples"])
        kept = stored(path)
        eps = float(eps_of(job.spec["eps"], "eps", job.spec["norm"]))
        examples, clean = parts(path, self.images, BATCH), self.clean_logits(rows["index"])
        finding = rescore_cell(rows, kept, examples, self.images, self.labels, job.spec, eps, self.network, clean)
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
        return finding, rows

    def clean_logits(self, index: np.ndarray) -> np.ndarray:
        """The network's outputs of clean images."""
        key = index.tobytes()
        if key not in self._clean:
            chunks = np.split(index, range(BATCH, len(index), BATCH))
            self._clean[key] = np.concatenate([self.network(pixels(self.images[chunk])) for chunk in chunks])
        return self._clean[key]


def read_ordered_rows(plan: Plan, job: PlannedJob, record: dict) -> Rows:
    """The rows of a cell as plain arrays, in the order of the split."""
    table = read_rows(plan.results / job.outputs["rows"], record["digests"]["rows"])
    columns = {name: np.asarray(table[name].to_pylist()) for name in ("fooled_by", "fooled_in")}
    columns |= {name: table[name].to_numpy() for name in table.column_names if name not in columns}
    order = np.argsort(columns["index"], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def recount_tables(plan: Plan, rows: dict[str, Rows]) -> Recount:
    """The tables checked against the rows of all cells."""
    cells = []
    for job in plan.cells:
        request, mine = plan.requests[job.record], rows[job.record]
        about = collect.about(plan, request.model, request.dataset)
        cells.append(
            CellRows(
                protocol=job.wildcards["protocol"],
                id=job.wildcards["model"],
                dataset=request.dataset,
                attack=collect.label(request),
                eps=job.spec["eps"],
                is_source=about["is_source"],
                shares_words=about["shares_words"],
                worst_case=request.protocol.worst_case,
                index=mine["index"],
                clean=mine["clean"] == mine["label"],
                robust=mine["robust"],
            )
        )
    return Recount((plan.results / plan.tables.record).parent, cells).run()

"""Chained cells: an image already fooled by an earlier cell is not attacked again; its row is copied.

A cell may follow another attack at the same ε (`after` of the attack), or the same attack at the next smaller ε
(`chain_eps` of the protocol), or both: an example in the smaller ball lies in the larger one. The verdicts are those of
the union over the chain.
"""

from typing import TYPE_CHECKING

import numpy as np

from zsr.errors import ZsrError
from zsr.storage.rows import plain, read_rows

if TYPE_CHECKING:
    from zsr.jobs.run import JobRun

ROLES = ("before", "smaller")  # if both cells fooled an image, the row of the first is copied
Columns = dict[str, np.ndarray]


def fooled_before(job: "JobRun", index: np.ndarray) -> Columns:
    """The rows of the images of `index` that the cells before this job fooled; `fooled_in` names the cell."""
    parts: list[Columns] = []
    for role in ROLES:
        if role not in job.spec["needs"]:
            continue
        record = job.record(role)
        table = read_rows(job.input(role).with_suffix(".parquet"), record["digests"]["rows"])
        rows = plain(table)
        rows["fooled_in"] = _fooled_in(rows, job.spec["follows"][role])
        fooled = ~rows["robust"] & np.isin(rows["index"], index)
        for earlier in parts:
            fooled &= ~np.isin(rows["index"], earlier["index"])
        parts.append({name: values[fooled] for name, values in rows.items()})
    if not parts:
        return {"index": np.empty(0, np.int32)}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def merge(own: Columns, copied: Columns) -> Columns:
    """The rows of a cell in the order of the split: its own verdicts and the copied ones."""
    if len(copied["index"]) == 0:
        return own
    if both := np.intersect1d(own["index"], copied["index"]).tolist():
        raise ZsrError(f"evaluate: image {both[0]} was attacked though an earlier cell fooled it; this is a bug")
    order = np.argsort(np.concatenate([own["index"], copied["index"]]), kind="stable")
    return {name: np.concatenate([own[name], copied[name]])[order].astype(own[name].dtype) for name in own}


def _fooled_in(rows: Columns, cell: str) -> np.ndarray:
    """The cell that fooled each image: this one or an earlier one; '' if it was misclassified without an attack."""
    here = np.where(rows["step"] > 0, cell, "").astype(object)
    return np.where(rows["fooled_in"] == "", here, rows["fooled_in"])

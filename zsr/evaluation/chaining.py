"""Chained cells: what an earlier cell has felled is not attacked again, and its rows are carried over as they are.

A cell may follow another attack at the same ε (`after` of the attack), or the same attack at the next smaller ε
(`chain_eps` of the protocol), or both. An image that it stands against neither was attacked here nor needs to be: an
example in the smaller ball lies in the larger one. The verdicts are those of the union over the chain.
"""

from typing import TYPE_CHECKING

import numpy as np

from zsr.errors import ZsrError
from zsr.storage.rows import plain, read_rows

if TYPE_CHECKING:
    from zsr.jobs.run import JobRun

ROLES = ("before", "smaller")  # which of two cells speaks where both felled an image
Columns = dict[str, np.ndarray]


def fallen(job: "JobRun", places: np.ndarray) -> Columns:
    """The rows of images (of `places`) that do not stand after the cells that this job follows.

    `fooled_in` says after which.
    """
    parts: list[Columns] = []
    for role in ROLES:
        if role not in job.spec["needs"]:
            continue
        record = job.record(role)
        table = read_rows(job.input(role).with_suffix(".parquet"), record["digests"]["rows"])
        rows = plain(table)
        rows["fooled_in"] = _said(rows, job.spec["follows"][role])
        fell = ~rows["robust"] & np.isin(rows["index"], places)
        for known in parts:
            fell &= ~np.isin(rows["index"], known["index"])
        parts.append({name: values[fell] for name, values in rows.items()})
    if not parts:
        return {"index": np.empty(0, np.int32)}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def merge(own: Columns, carried: Columns) -> Columns:
    """The rows of a cell in the order of the split: its own verdicts, and those that were carried over."""
    if len(carried["index"]) == 0:
        return own
    if both := np.intersect1d(own["index"], carried["index"]).tolist():
        raise ZsrError(f"evaluate: image {both[0]} was attacked though an earlier cell felled it; this is a bug")
    order = np.argsort(np.concatenate([own["index"], carried["index"]]), kind="stable")
    return {name: np.concatenate([own[name], carried[name]])[order].astype(own[name].dtype) for name in own}


def _said(rows: Columns, cell: str) -> np.ndarray:
    """Where each image fell: in the earlier cell, or still earlier; nowhere, if it was wrong to begin with."""
    here = np.where(rows["step"] > 0, cell, "").astype(object)
    return np.where(rows["fooled_in"] == "", here, rows["fooled_in"])

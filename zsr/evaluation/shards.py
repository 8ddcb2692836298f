"""The shards of a cell as one cell: rows are concatenated, counts and costs summed."""

import numpy as np
import pyarrow as pa

from zsr.errors import ZsrError
from zsr.evaluation.cell import some
from zsr.storage.rows import plain


def merged_rows(tables: list[pa.Table]) -> dict[str, np.ndarray]:
    """The columns of all shards in the order of the split; a row that is there twice raises."""
    whole = pa.concat_tables([table.unify_dictionaries() for table in tables])
    columns = plain(whole)
    if (np.diff(columns["index"]) <= 0).any():
        raise ZsrError("the shards of this cell overlap or are out of order; remove them and run snakemake again")
    return columns


def merged_examples(tables: list[pa.Table], store: int | str, seed: int) -> pa.Table:
    """The stored examples of all shards, as many as one evaluation would have kept."""
    whole = pa.concat_tables(tables)
    return whole.take(pa.array(some(len(whole), store, seed)))


def merged_facts(records: list[dict], columns: dict[str, np.ndarray]) -> dict:
    """The summary, with the facts of `workflow/scripts/evaluate.py` and the seconds of each shard."""
    rows = len(columns["index"])
    if rows != sum(record["n"] for record in records):
        raise ZsrError(f"the shards hold {rows} rows and speak of {sum(record['n'] for record in records)}")
    seconds = sum(record["attack_seconds"] for record in records)
    first = records[0]
    for key in ("weights", "head"):
        if any(record[key] != first[key] for record in records):
            raise ZsrError(f"the shards of this cell were made with different {key}; remove them and run again")
    return {
        "n": rows,
        "attacked": sum(record["attacked"] for record in records),
        "clean_correct": int((columns["clean"] == columns["label"]).sum()),
        "robust_correct": int(columns["robust"].sum()),
        "passes": {key: sum(record["passes"][key] for record in records) for key in first["passes"]},
        "notes": list(dict.fromkeys(note for record in records for note in record["notes"])),
        "signs": merged_signs([record["signs"] for record in records]),
        "unconfirmed": sum(record["unconfirmed"] for record in records),
        "weights": first["weights"],
        "head": first["head"],
        "start_seconds": round(sum(record["start_seconds"] for record in records), 3),
        "attack_seconds": round(seconds, 3),
        "images_per_second": round(sum(record["attacked"] for record in records) / max(seconds, 1e-9), 2),
        "peak_megabytes": max(record["peak_megabytes"] for record in records),
        "shard_seconds": [record["attack_seconds"] for record in records],
    }


def merged_signs(shards: list[dict]) -> dict:
    """The gradient signs of all shards (`zsr.attacks.core.gradient_signs`): counts summed, means weighted."""
    merged: dict[str, dict] = {}
    for part in dict.fromkeys(name for shard in shards for name in shard):
        seen = [shard[part] for shard in shards if part in shard]
        merged[part] = {key: sum(one[key] for one in seen) for key in ("images", "zero_gradient", "ended")}
        ended = merged[part]["ended"]
        if ended:
            with_end = [one for one in seen if one["ended"]]
            merged[part] |= {k: sum(one[k] * one["ended"] for one in with_end) / ended for k in ("first", "last")}
            merged[part]["rose"] = sum(one["rose"] for one in with_end)
    return merged

"""A cell in shards: the rows of a cell in one piece, bit for bit, and the summary too."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from zsr.config import complete
from zsr.errors import ZsrError
from zsr.evaluation import cell as evaluate
from zsr.evaluation.shards import merged_facts, merged_rows
from zsr.plan.plan import Plan
from zsr.results import collect


def test_the_parts_are_all_images_in_order():
    index = np.arange(100, 147)
    for count in (2, 3, 47):
        parts = [evaluate.shard_of(index, i, count) for i in range(count)]
        assert np.array_equal(np.concatenate(parts), index)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_rows_do_not_depend_on_the_number_of_shards(copy):
    """Two and three shards against one evaluation, through Snakemake. The unsharded cells of the same config are
    not made again."""
    raw = copy.config
    short = {
        **raw["protocols"][0],
        "datasets": ["drawn-colour"],
        "attacks": raw["protocols"][0]["attacks"][:1],
        "eps": ["4/255"],
    }
    raw["protocols"] += [{**short, "name": "two", "shards": 2}, {**short, "name": "three", "shards": 3}]
    raw["models"] = [model for model in raw["models"] if model["name"] != "ce"]
    copy.configure(raw)
    plan = Plan(raw)
    cells = [cell for cell in plan.cells if cell.wildcards["protocol"] != "mini"]
    assert {cell.rule for cell in cells} == {"merge"}
    said = copy.snakemake(*[f"results/{cell.record}" for cell in cells])
    assert "rule evaluate:" not in said and "rule finetune:" not in said
    for cell in cells:
        path = copy.path("results") / cell.record
        record = json.loads(path.read_text(encoding="utf-8"))
        rows = pq.read_table(path.with_suffix(".parquet")).to_pydict()
        one = copy.path("results") / cell.record.replace(f"eval/{cell.wildcards['protocol']}/", "eval/mini/")
        alone = pq.read_table(one.with_suffix(".parquet")).to_pydict()
        whole = json.loads(one.read_text(encoding="utf-8"))
        assert rows["index"] == alone["index"] and rows["label"] == alone["label"] and rows["clean"] == alone["clean"]
        agree = np.mean(np.array(rows["robust"]) == np.array(alone["robust"]))
        assert agree >= 0.95  # another batch shape sums in another order
        assert set(whole) - {"shard_seconds"} <= set(record)
        assert record["n"] == len(rows["index"]) == 48 and record["robust_correct"] == sum(rows["robust"])
        if cell.wildcards["protocol"] == "two":
            twin = cell.record.replace("eval/two/", "eval/three/")
            other = (copy.path("results") / twin).with_suffix(".parquet")
            assert other.read_bytes() == path.with_suffix(".parquet").read_bytes()  # fixed shapes: bit for bit


def test_large_sets_are_shared_among_jobs_by_themselves(project):
    """One job for every 5,000 images, next to small sets of the same protocol that stay whole."""
    raw = project.config
    raw["data"].append({"name": "large", "like": "drawn-colour", "splits": {"test": 10_001}})
    raw["backbones"], raw["models"] = raw["backbones"][:1], raw["models"][:1]
    protocol = raw["protocols"][0] | {"datasets": ["large", "drawn-colour"], "eps": ["4/255"], "images": "all"}
    raw["protocols"] = [protocol | {"attacks": protocol["attacks"][:1]}]
    project.configure(raw)
    said = project.snakemake("-n", "--quiet", "rules")
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
    assert (counts["shard"], counts["merge"], counts["evaluate"]) == (3, 1, 1)


def test_shards_that_overlap_are_refused(finished):
    plan = Plan(finished.config)
    table = pq.read_table((finished.path("results") / plan.cells[0].record).with_suffix(".parquet"))
    halves = [table.slice(0, 20), table.slice(20)]
    merged = merged_rows(halves)
    assert all(list(merged[name]) == table.column(name).to_pylist() for name in table.column_names)
    with pytest.raises(ZsrError, match="overlap or are out of order"):
        merged_rows([table.slice(0, 21), table.slice(20)])


def test_a_merged_cell_took_what_its_shards_took():
    shard = {
        "n": 2, "attacked": 2, "passes": {"forward": 2, "backward": 2}, "notes": [], "signs": {}, "unconfirmed": 0,
        "weights": "w", "head": "h", "start_seconds": 1.5, "attack_seconds": 10.0, "peak_megabytes": 1.0,
    }  # fmt: skip
    columns = {"index": np.arange(4), "clean": np.zeros(4), "label": np.zeros(4), "robust": np.ones(4, bool)}
    merged = merged_facts([shard, {**shard, "attack_seconds": 20.0}], columns) | {"seconds": 0.25}
    assert collect.seconds(merged) == 1.5 + 10 + 1.5 + 20 + 0.25
    assert collect.seconds({**shard, "seconds": 12.0}) == 12.0  # one evaluation: its process has done it all


def test_more_shards_than_images(mini):
    mini["protocols"][0]["shards"] = 49
    with pytest.raises(ZsrError, match="49 shards of 48 images; ask for fewer"):
        complete.complete(mini)
    mini["protocols"][0]["shards"] = "some"
    with pytest.raises(ZsrError, match="shards: 'some' is neither a number of jobs nor 'auto'"):
        complete.complete(mini)

"""Results deleted, changed by hand or made of other code: what is stale is named, and made again."""

import os
import re
import shutil

import pytest
from support.damage import flip
from support.reruns import a_cell, check, downstream, either, expected, is_t, of_model, planned

from zsr.plan.plan import Plan
from zsr.storage.examples import read_table

pytestmark = pytest.mark.slow


def test_a_cell_deleted(copy):
    job, path = a_cell(copy)
    path.unlink()
    check(copy, lambda other: other.title == job.title or is_t(other))


@pytest.mark.parametrize("keep_time", [True, False])
def test_a_cell_changed_by_hand(copy, keep_time):
    job, path = a_cell(copy)
    before = path.stat()
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert planned(copy) <= expected(copy, is_t)
    assert path.name in copy.zsr("verify", "--seals", code=1)
    shutil.rmtree(copy.path("results/tables"))
    assert f"{path.name}: damaged" in copy.snakemake(code=1)
    assert f"removed {job.title}" in copy.zsr("repair")
    assert not path.exists()
    check(copy, lambda other: other.title == job.title or is_t(other))
    copy.snakemake()
    assert "0 wrong, 0 not there" in copy.zsr("verify", "--seals")


UPSTREAM = (
    "data/mini-source/train/native/images.npy",
    "data/mini-captions/train/native/captions.json",
    "data/drawn-colour/test/native/labels.npy",
    "backbones/rn/weights.safetensors",
    "heads/rn/drawn-colour.safetensors",
    "heads/vit/mini-source.safetensors",
    "models/rn.tecoa.s0/weights.safetensors",
    "models/rn.tecoa.s0/manifest.json",
    "models/rn.clip/weights.safetensors",
)


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_repair_removes_is_made_again_with_all_that_is_made_of_it(copy, name):
    plan = Plan(copy.config)
    flip(copy.folder / plan.results / name)
    assert "1 results removed" in copy.zsr("repair")
    titles = {job.title for job in downstream(plan, name)}
    check(copy, lambda job: job.title in titles or is_t(job))


@pytest.mark.parametrize("names", [["manifest.json"], ["weights.safetensors"], ["train.jsonl"], None])
def test_a_model_deleted(copy, names):
    """By hand, or by Snakemake when Ctrl-C ends a training of another config, which is then put back."""
    plan = Plan(copy.config)
    model = "models/vit.ce.s0"
    for name in names or ["manifest.json", "weights.safetensors", "train.jsonl"]:
        (copy.folder / plan.results / model / name).unlink()
    titles = {job.title for job in downstream(plan, f"{model}/manifest.json")}
    check(copy, lambda job: job.title in titles or is_t(job))


@pytest.mark.parametrize("target", ["results/report.html", "report"])
def test_a_target_of_ones_own_asks_for_what_is_gone_beneath_it(copy, target):
    plan = Plan(copy.config)
    assert planned(copy, target) == set()
    name = "models/rn.tecoa.s0/manifest.json"
    (copy.folder / plan.results / name).unlink()
    titles = {job.title for job in downstream(plan, name)}
    right = expected(copy, lambda job: job.title in titles or is_t(job))
    assert planned(copy, target) == right
    assert planned(copy, "results/models/vit.tecoa.s0/manifest.json") == set(), "it is not made of the missing model"


def test_a_log_or_a_benchmark_deleted(copy):
    for folder in ("logs", "benchmarks"):
        shutil.rmtree(copy.path(f"results/{folder}"))
    check(copy, lambda job: False)


def test_verify_scores_again_and_recounts_and_fails_without_examples(copy):
    """Hardly anything falls in the miniature, whose models have learned nothing; what falls is stored."""
    said = copy.zsr("verify")
    stored = sum(read_table(path).num_rows for path in copy.path("results/eval").rglob("*.examples"))
    assert stored and f"{stored} stored examples scored again" in said
    assert "recounted, 0 wrong" in said
    assert " 0 clean predictions" not in said
    raw = copy.config
    raw["models"] = raw["models"][:1]
    short = {"store": "none", "datasets": ["drawn-colour"], "attacks": raw["protocols"][0]["attacks"][:1]}
    raw["protocols"][0] |= {**short, "eps": ["1/255"]}
    copy.configure(raw)
    copy.snakemake()
    assert "no adversarial example is stored" in copy.zsr("verify", code=1)


def test_memory_lost_then_code_changed(copy):
    shutil.rmtree(copy.path(".snakemake"))
    assert planned(copy) == set()
    copy.edit("zsr/methods/tecoa.py", "return F.cross_entropy(logits", "return 2 * F.cross_entropy(logits")
    message = copy.snakemake(code=1)
    assert "Snakemake's memory (.snakemake/) is not of these results" in message
    assert re.search(r"first models/\w+\.tecoa\.s0/manifest\.json", message)
    shutil.rmtree(copy.path("results/tables"))  # also where only times could speak
    message = copy.snakemake("results/tables/manifest.json", code=1)
    assert re.search(r"first models/\w+\.tecoa\.s0/manifest\.json", message)
    assert not copy.path("results/tables/manifest.json").exists()
    copy.zsr("repair")
    check(copy, either(is_t, of_model("tecoa")))


def test_code_edited_while_jobs_are_queued(copy):
    """The edit happens in a job that runs first; those planned with the old code must not publish."""
    copy.path("results/eval").rename(copy.path("old"))
    body = copy.path("workflow/scripts/evaluate.py").read_text(encoding="utf-8")
    late = 'if __name__ == "__main__":\n'
    edit = (
        "    from pathlib import Path\n"
        "    loop = Path('zsr/evaluation/cell.py')\n"
        "    if 'edited' not in loop.read_text():\n"
        "        loop.write_text(loop.read_text() + '\\nedited = 1\\n')\n"
    )
    assert body.count(late) == 1
    copy.path("workflow/scripts/evaluate.py").write_text(body.replace(late, late + edit), encoding="utf-8")
    message = copy.snakemake("--until", "evaluate", code=1)
    assert "the code changed after this job was planned" in message
    assert not list(copy.path("results/eval").rglob("*.parquet"))


def test_code_edited_while_a_job_runs(copy):
    _, path = a_cell(copy)
    path.unlink()
    body = copy.path("workflow/scripts/evaluate.py").read_text(encoding="utf-8")
    line = "    write_rows("
    assert body.count(line) == 1
    edit = "    open('zsr/storage/rows.py', 'a').write('\\nedited = 1\\n')\n"
    copy.path("workflow/scripts/evaluate.py").write_text(body.replace(line, edit + line), encoding="utf-8")
    message = copy.snakemake(str(path.relative_to(copy.folder)), code=1)
    assert "the code changed after this job was planned" in message
    assert not path.exists()

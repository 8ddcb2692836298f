"""A data file that was replaced: no result made of it is taken for one of the new file."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import archives
from support.jobs import run
from support.project import Project, refused

from zsr.checks.changed_files import changed_file, refuse_changed
from zsr.cli.verify import fault
from zsr.config.complete import complete
from zsr.data.sources import note_of
from zsr.plan.plan import Plan
from zsr.storage.records import read_record


def write(path: Path, seed: int) -> None:
    """Eight pictures of two classes."""
    pictures = [archives.picture(seed + i, (32, 32), "PNG") for i in range(8)]
    pq.write_table(pa.table({"image": pictures, "label": [0, 1] * 4}), path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "real").mkdir()
    monkeypatch.setenv("ZSR_TEST_REAL", str(tmp_path / "real"))
    write(tmp_path / "real/test.parquet", 0)
    return tmp_path / "real/test.parquet"


@pytest.fixture
def own(mini: dict, place: Path) -> dict:
    """The miniature config with a set of one's own."""
    own = {"name": "own", "reader": "parquet", "options": {"path": "$ZSR_TEST_REAL/{split}.parquet"}, "size": 32,
           "splits": {"test": 8}, "classes": ["dark", "light"], "templates": ["a {} picture"]}  # fmt: skip
    mini["data"].append(own)
    mini["protocols"][0] |= {"datasets": ["own"], "images": 8, "batch": 8}
    return mini


@pytest.fixture
def plan(project: Project, own: dict, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Its plan; the split is prepared."""
    monkeypatch.chdir(project.folder)
    complete(own)
    plan = Plan(own)
    code, said = run(project, plan, prepared(plan))
    assert code == 0, said
    return plan


def prepared(plan: Plan):
    return next(job for job in plan.jobs.values() if job.rule == "prepare" and job.wildcards["dataset"] == "own")


def test_what_was_read_is_noted_and_is_no_path_of_this_machine(plan, place):
    text = (plan.results / prepared(plan).record).read_text(encoding="utf-8")
    assert '"$ZSR_TEST_REAL/test.parquet"' in text
    assert str(place.parent) not in text
    refuse_changed(plan)


def test_another_file_is_refused_by_name_and_repair_takes_what_was_made_of_it(plan, place):
    write(place, 3)
    with refused(r"test\.parquet: another file than the one that .*images\.npy was made of; if that is meant, remove"):
        refuse_changed(plan)
    assert "another file" in fault(plan, prepared(plan))


@pytest.mark.slow
def test_a_replaced_file_reaches_the_table(project, own, place):
    """What the refusal says is done, and every result is made of the new file."""
    own["data"][-1] |= {"classes": ["red", "blue"], "templates": ["a {} circle"]}  # words that the tokenizer knows
    own["backbones"], own["models"] = own["backbones"][:1], own["models"][:1]
    own["protocols"][0]["attacks"], own["protocols"][0]["eps"] = own["protocols"][0]["attacks"][:1], ["4/255"]
    project.configure(own)
    project.snakemake()
    plan = Plan(own)
    before = read_record(project.folder / plan.results / plan.cells[0].record)
    write(place, 3)
    assert f"if that is meant, remove {note_of(place)} and run `zsr repair`" in project.snakemake("-n", code=1)
    note_of(place).unlink(missing_ok=True)
    assert "1 results removed; run snakemake" in project.zsr("repair")
    project.snakemake()
    after = read_record(project.folder / plan.results / plan.cells[0].record)
    assert before["read"]["data"] != after["read"]["data"]
    assert before["read"]["model"] == after["read"]["model"]
    assert "0 wrong, 0 not there" in project.zsr("verify", "--seals")


def test_the_same_bytes_at_another_time_are_the_same_file(plan, place):
    os.utime(place, (1, 1))
    assert changed_file(plan, prepared(plan)) is None
    refuse_changed(plan)


def test_a_file_that_is_gone_was_read(plan, place, monkeypatch):
    place.unlink()
    refuse_changed(plan)
    monkeypatch.delenv("ZSR_TEST_REAL")
    refuse_changed(plan)


def test_unfinished_work_goes_on_from_these_bytes_alone(plan, project, tmp_path):
    """A checkpoint is of a spec and of what the jobs before it have made."""
    from zsr.jobs.run import JobRun
    from zsr.storage import records

    job = next(job for job in plan.jobs.values() if job.rule == "heads" or "data" in job.needs)
    keys = []
    for digest in ("a", "a", "b"):
        inputs = {}
        for role, needed in job.needs.items():
            path = tmp_path / f"{role}.json"
            record = {"spec_hash": needed.hash, "spec": needed.spec, "digests": {"images": digest}}
            records.write_json(path, record | {"seal": records.seal(record)})
            inputs[role] = [path]
        made = JobRun(job.spec, inputs, {"record": tmp_path / "out.json"})
        keys.append(made.resumable)
    assert keys[0] == keys[1] != keys[2]

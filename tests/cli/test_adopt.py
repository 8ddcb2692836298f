"""Results that Snakemake does not remember, as in a fresh clone with a copy of them: adopted if they are right."""

import json
import os
import re
import shutil

import pytest
from support.damage import flip
from support.project import Project
from support.reruns import downstream, expected, is_t, planned

from zsr.checks.snakemake_memory import METADATA, name_of_output
from zsr.hashing import file_digest
from zsr.plan.plan import Plan
from zsr.storage.records import seal

pytestmark = pytest.mark.slow


@pytest.fixture
def clone(copy: Project) -> Project:
    """A clone without Snakemake's memory; the copy has mixed up the times: what was made last is the oldest file."""
    shutil.rmtree(copy.path(".snakemake"))
    plan = Plan(copy.config)
    for age, job in enumerate(plan.jobs.values()):
        for path in job.outputs.values():
            os.utime(copy.folder / plan.results / path, (1.7e9 - age, 1.7e9 - age))
    return copy


def become_stale(project: Project, plan: Plan) -> None:
    config = project.config
    config["models"][1]["recipe"]["lr"] = 0.002
    project.configure(config)


def damage(project: Project, plan: Plan) -> None:
    flip(project.folder / plan.results / "models/rn.tecoa.s0/weights.safetensors")


def replace_data(project: Project, plan: Plan) -> None:
    """Another result of the same spec, whole and sealed, as it is made of a data file that was replaced."""
    folder = project.folder / plan.results / "data/mini-source/train/native"
    flip(folder / "images.npy")
    record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    record["digests"]["images"] = file_digest(folder / "images.npy")
    (folder / "manifest.json").write_text(json.dumps(record | {"seal": seal(record)}), encoding="utf-8")


def test_a_clone_is_told_and_adopts(clone):
    plan = Plan(clone.config)
    notice = f"zsr: {len(plan.jobs)} results are right, but Snakemake does not remember them"
    said = clone.snakemake("-n")
    assert notice in said and "run `zsr adopt` first" in said
    assert len(planned(clone)) > len(plan.cells), "the times are in a wrong order"
    assert f"{len(plan.jobs)} results to adopt\n" == clone.zsr("adopt", "-n")
    assert f"{len(plan.jobs)} results adopted\n" == clone.zsr("adopt")
    said = clone.snakemake("-n")
    assert "Nothing to be done" in said and "zsr adopt" not in said
    for path in (clone.folder / "results").rglob("*"):
        os.utime(path)
    assert planned(clone) == set(), "Snakemake knows checksums, and not only times"
    assert clone.zsr("adopt") == "0 results adopted\n"
    become_stale(clone, plan)
    assert "results/models/rn.tecoa.s0/manifest.json" in planned(clone), "Snakemake knows specs"


def test_what_is_missing_is_made_with_all_that_was_made_of_it(clone):
    plan = Plan(clone.config)
    name = "models/rn.tecoa.s0/manifest.json"
    (clone.folder / plan.results / name).unlink()
    gone = downstream(plan, name)
    titles = {job.title for job in gone}
    right = expected(clone, lambda job: job.title in titles or is_t(job))
    said = clone.zsr("adopt")
    assert f"{len(plan.jobs) - len(right)} results adopted\n" in said
    assert f"1 results are not there, and {len(right) - 1} were made of them: snakemake makes these" in said
    assert planned(clone) == right


WRONG = {
    become_stale: r"models/rn\.tecoa\.s0/manifest\.json: stale, made for spec",
    damage: r"models/rn\.tecoa\.s0/weights\.safetensors: damaged",
    replace_data: r"models/rn\.tecoa\.s0/manifest\.json: made of other data than what lies there now",
}


@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_result_is_never_adopted(clone, how):
    how(clone, Plan(clone.config))
    said = clone.zsr("adopt", code=1)
    assert "nothing was adopted; run `zsr repair`, then `zsr adopt` again; the first: " in said
    assert not any(path.is_file() for path in clone.path(str(METADATA)).rglob("*"))
    assert re.search(WRONG[how], clone.zsr("verify", "--seals", code=1))
    if how is not damage:  # the bytes of large files are looked at by the jobs that read them
        assert "run `zsr repair` to remove them" in clone.snakemake("-n", code=1)


def test_repair_takes_what_was_made_of_other_bytes(clone):
    plan = Plan(clone.config)
    replace_data(clone, plan)
    trained = [job for job in plan.trained if job.rule == "finetune"]
    said = clone.zsr("repair")
    assert f"{len(trained)} results removed; run snakemake" in said
    assert not any((clone.folder / plan.results / job.record).exists() for job in trained)
    clone.zsr("adopt")
    titles = {job.title for model in trained for job in downstream(plan, model.record)}
    assert planned(clone) == expected(clone, lambda job: job.title in titles or is_t(job))


def test_a_long_path_is_remembered_where_the_plan_looks(tmp_path):
    """Snakemake splits a long name into folders; results far down would else look forgotten."""
    from snakemake.persistence.file import FilePersistence

    path = "results/" + "a" * 120 + "/" + "b" * 120 + "/manifest.json"
    memory = FilePersistence(path=tmp_path)
    assert memory._record_path(str(tmp_path / "metadata"), path) == str(tmp_path / "metadata" / name_of_output(path))

"""Where results may lie, and what `zsr prune` may delete: nothing that zsr did not make."""

import argparse
import json
import os
import shutil
from pathlib import Path

import pytest
from support.project import ROOT, copy_project, refused

from zsr.cli import prune
from zsr.config import complete
from zsr.plan.plan import Plan
from zsr.storage import records, results_folder, run_lock
from zsr.storage.results_folder import MARKER, mark

SPELLINGS = ["results/", "./results", "results/.", ".//results//", "results/../results", "$PWD_OF_TEST/results"]
TOO_LARGE = ["/", ".", "..", "../..", "~", "$HOME", "~/", "./", str(ROOT), f"{ROOT}/", str(ROOT.parent)]
PYTHON = [path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))]
SOURCES = sorted({*PYTHON, "docs", "config", "envs", "profiles", "resources"} - {"build", ".venv"})
HIDDEN = [".git", ".git/results", ".snakemake", ".snakemake/results", ".venv/results", ".hidden", "build/.git/x"]
NO_NAMES = [
    "",
    " ",
    "\t",
    " results",
    "results ",
    "a{b}",
    "a\nb",
    "a\x00",
    "*",
    "a?",
    "$NO_SUCH_VARIABLE/x",
    "x" * 5000,
]


def plan_with(mini: dict, results: str) -> Plan:
    return Plan({**mini, "results": results})


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_folder_has_one_spelling(mini, spelling, monkeypatch):
    """Snakemake takes `results//x` for another file than `results/x`, and made everything again."""
    monkeypatch.setenv("PWD_OF_TEST", ".")
    plan, usual = plan_with(mini, spelling), plan_with(mini, "results")
    assert plan.config.results == "results" and plan.results == usual.results
    assert {job.record: job.hash for job in plan.jobs.values()} == {j.record: j.hash for j in usual.jobs.values()}


def test_variables_and_the_home_are_expanded_as_in_other_paths(mini, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert plan_with(mini, "$SCRATCH/zsr").results == tmp_path / "zsr"
    assert plan_with(mini, "${SCRATCH}/zsr/").results == tmp_path / "zsr"
    assert plan_with(mini, "~/zsr").results == tmp_path / "home" / "zsr"
    assert plan_with(mini, f"/{tmp_path}/zsr").results == tmp_path / "zsr"


@pytest.mark.parametrize("name", [*TOO_LARGE, *SOURCES, *(f"{name}/results" for name in SOURCES), *HIDDEN, *NO_NAMES])
def test_a_folder_that_may_not_hold_results(mini, name):
    with refused("^results: "):
        complete.complete({**mini, "results": name})


@pytest.mark.parametrize("inner", ["zsr", ".git", "zsr/models"])
def test_a_symlink_hides_nothing(mini, tmp_path, inner):
    (tmp_path / "innocent").symlink_to(ROOT / inner)
    with refused("^results: "):
        plan_with(mini, str(tmp_path / "innocent"))


def test_symlinks_in_a_circle(mini, tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with refused("^results: "):
        plan_with(mini, str(tmp_path / "a" / "x"))


def test_the_working_directory_of_another_place_holds_no_results(mini, tmp_path, monkeypatch):
    """`snakemake -s …/Snakefile -d elsewhere`: its config and Snakemake's memory lie there."""
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    for name in (".", "..", str(tmp_path / "run"), ".snakemake/x"):
        with refused("^results: "):
            complete.complete({**mini, "results": name})
    assert complete.complete({**mini, "results": "../results"}).results == "../results"


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """An empty folder that stands for the checkout."""
    monkeypatch.setattr(results_folder, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_fresh_folder_of_the_checkout_stays_right(checkout):
    """Before the first run, after it, with a neighbour, and with SLURM's logs, which come before everything."""
    for name in ("results", "out/first", "out/second"):
        assert results_folder.results_folder(name) == name
        mark(Path(name))
        assert (checkout / name / MARKER).is_file()
        (checkout / name / "notes.md").touch()
        assert results_folder.results_folder(name) == name
    (checkout / "third/logs/slurm").mkdir(parents=True)
    (checkout / "third/.lock").touch()
    assert results_folder.results_folder("third") == "third"
    mark(Path("third"))
    assert results_folder.is_marked(Path("third"))


def test_a_folder_that_cannot_be_marked_is_one_line(tmp_path):
    (tmp_path / "results").touch()
    with refused("results: cannot be written"):
        mark(tmp_path / "results")


def test_results_of_before_the_marker_stay_usable(checkout):
    (checkout / "old/notes").mkdir(parents=True)
    with refused("old holds files that zsr did not make"):
        results_folder.results_folder("old")
    record(checkout / "old/tables/manifest.json")
    assert results_folder.results_folder("old") == "old"
    mark(Path("old"))
    assert not results_folder.is_marked(Path("old")), "its other files are not zsr's"


# -- prune ------------------------------------------------------------------------------------------------------------


def record(path: Path) -> None:
    value = {"spec_hash": "abc"}
    records.write_json(path, {**value, "seal": records.seal(value)})


def prune_run(delete: bool, keep: tuple[str, ...] = ()) -> None:
    prune.run(argparse.Namespace(configfile="config.yaml", delete=delete, keep=list(keep)))


@pytest.fixture
def place(tmp_path, monkeypatch, mini) -> Path:
    """A working directory with a config; its results folder is `results`."""
    (tmp_path / "config.yaml").write_text(json.dumps(mini), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {run_lock.NAME}


def test_prune_leaves_a_checkout_alone(place, monkeypatch):
    """It deleted 134 files of zsr/data, zsr/models and others. The plan refuses such a folder, and prune too."""
    shutil.copytree(ROOT / "zsr", place / "results", ignore=shutil.ignore_patterns("__pycache__"))
    before = files(place / "results")
    prune_run(delete=True)
    (place / "results" / MARKER).touch()
    prune_run(delete=True)
    assert files(place / "results") == {*before, MARKER}


OURS = [
    "models/rn.gone.s0/manifest.json", "models/rn.gone.s0/weights.safetensors", "models/rn.gone.s0/train.jsonl",
    "eval/mini/rn.gone.s0/drawn-colour/pgd/eps-9_255.json", "eval/mini/rn.gone.s0/drawn-colour/pgd/eps-9_255.parquet",
    "heads/rn/gone.json", "heads/rn/gone.safetensors", "data/gone/test/native/manifest.json",
    "eval/mini/rn.gone.s0/drawn-colour/pgd/eps-9_255.shards/0-of-2.json",
]  # fmt: skip
UNFINISHED = [
    "models/rn.half.s0/last.ckpt", "models/rn.half.s0/tensorboard/events.out.tfevents.1.host.2.0",
    "data/half/test/native/..images.npy.part.0123abcd.done.npy", "backbones/half/.last.ckpt.77.tmp",
    "eval/mini/rn.half.s0/drawn-colour/pgd/..eps-9_255.json.part.77.tmp",
]  # fmt: skip
STRANGE = [
    "models/notes.txt", "models/rn.gone.s0/notes.txt", "data/mine.csv", "data/gone/test/native/mine.npy",
    "eval/plot.png", "heads/readme.md", "backbones/deep/er/weights.safetensors.bak", "models/mine/weights.pt",
]  # fmt: skip


@pytest.mark.parametrize("marked", [True, False])
def test_prune_deletes_what_zsr_made_and_nothing_else(place, marked, capsys):
    """In a folder with a marker also what has no record; without one, sealed records alone speak for a file."""
    results = place / "results"
    if marked:
        mark(results)
    for name in [*OURS, *UNFINISHED, *STRANGE]:
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        record(results / name) if name in OURS and name.endswith(".json") else (results / name).touch()
    (results / "models/empty").mkdir()
    gone = {*OURS, *(UNFINISHED if marked else ())}
    prune_run(delete=False)
    listed = capsys.readouterr().out.splitlines()
    assert {f"results/{name}" for name in gone} == {line for line in listed if line.startswith("results/")}
    assert f"{len(STRANGE) + (0 if marked else len(UNFINISHED))} files stay" in "".join(listed)
    assert any("has no marker" in line for line in listed) is not marked
    prune_run(delete=True)
    assert files(results) == {*STRANGE, *([MARKER] if marked else UNFINISHED)}
    assert (results / "models/empty").is_dir() and not (results / "models/rn.gone.s0/train.jsonl").exists()


def test_a_damaged_record_speaks_for_no_file(place):
    path = place / "results/models/rn.gone.s0/manifest.json"
    record(path)
    path.write_text(path.read_text(encoding="utf-8").replace("abc", "abd"), encoding="utf-8")
    prune_run(delete=True)
    assert path.is_file()


def test_prune_never_deletes_what_the_config_asks_for(place, mini):
    plan = Plan(mini)
    mark(place / "results")
    wanted = {path for job in plan.jobs.values() for path in job.outputs.values()}
    wanted |= {f"{job.record.removesuffix('manifest.json')}last.ckpt" for job in plan.trained}
    for name in wanted:
        (place / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "results" / name).touch()
    prune_run(delete=True)
    assert files(place / "results") == {*wanted, MARKER}


def test_keep_names_a_config_of_the_same_folder_however_it_is_spelled(place, mini):
    """Written as an absolute path it was taken for another folder, and its results were deleted."""
    mark(place / "results")
    other = {**mini, "results": str(place / "results"), "models": [*mini["models"], {"name": "kept", "method": "ce"}]}
    (place / "other.yaml").write_text(json.dumps(other), encoding="utf-8")
    path = place / "results/models/rn.kept.s0/weights.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    prune_run(delete=True, keep=("other.yaml",))
    assert path.exists()
    (place / "far.yaml").write_text(json.dumps({**other, "results": "far"}), encoding="utf-8")
    with refused("--keep far.yaml: its results lie in far, not in results"):
        prune_run(delete=True, keep=("far.yaml",))


def test_a_file_that_cannot_be_deleted_is_one_line(place, monkeypatch):
    record(place / "results/heads/rn/gone.json")
    monkeypatch.setattr(Path, "unlink", lambda self: os.unlink(place))
    with refused(r"gone\.json: cannot be deleted"):
        prune_run(delete=True)


@pytest.mark.slow
def test_a_run_marks_a_fresh_folder_and_a_dry_run_makes_none(tmp_path, mini):
    """In the whole workflow, with one preparation."""
    project = copy_project(tmp_path / "project")
    project.configure(mini)
    target = "results/data/drawn-colour/test/native/manifest.json"
    project.snakemake("-n", target)
    assert not project.path("results").exists()
    project.snakemake(target)
    assert project.path(f"results/{MARKER}").is_file()
    project.configure({**mini, "results": "./results/"})
    assert "Nothing to be done" in project.snakemake("-n", target)

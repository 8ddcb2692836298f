"""The workflow on a real SLURM: one node on the loopback, faults in the middle, and the local run's table in the end.

Two trainings hang themselves (a stopped process, as on a dead file server). One runs into its time limit, the other is
cancelled; node daemon and controller are stopped and started meanwhile. Both go on from their checkpoints.
ZSR_SLURM_WHOLE=1 runs all cells of the miniature DAG instead of a ninth (95 jobs, each with two starts of Snakemake).
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import yaml
from support import slurm_cluster
from support.project import MINI, Project, copy_project
from support.slurm_cluster import Cluster
from support.waiting import wait_for

from zsr.plan.plan import Plan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(slurm_cluster.MISSING is not None, reason=str(slurm_cluster.MISSING)),
]
WHOLE = bool(os.environ.get("ZSR_SLURM_WHOLE"))
QUICK = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
HANG = '''"""Stops a pretraining once, when it has logged three steps: a job that hangs. In no spec."""
import os, signal, sys, threading, time
from pathlib import Path

def watch(folder):
    marker = folder / ".hung"
    while not marker.exists():
        if any(part.read_text().count("\\n") >= 3 for part in folder.glob("..train.jsonl.*.part") if part.exists()):
            marker.write_text(os.environ["SLURM_JOB_ID"])
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.001)

record = [a.partition("=")[2] for a in sys.orig_argv if a.startswith("record=")]
if "workflow.scripts.pretrain" in sys.orig_argv and "SLURM_JOB_ID" in os.environ:
    threading.Thread(target=watch, args=(Path(record[0]).parent,), daemon=True).start()
'''


def config() -> dict:
    mini = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    if not WHOLE:
        mini["models"] = [model for model in mini["models"] if model["name"] != "ce"]
        protocol = mini["protocols"][0]
        protocol["datasets"], protocol["attacks"] = protocol["datasets"][:1], protocol["attacks"][:1]
    return mini


@pytest.fixture
def cluster(tmp_path: Path):
    with Cluster(tmp_path / "slurm") as running:
        yield running


def start(project: Project, cluster: Cluster, *arguments: str) -> subprocess.Popen:
    """Snakemake on the cluster; its words go to run.log."""
    with project.path("run.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments, *QUICK],
            cwd=project.folder, env={**os.environ, "PYTHONPATH": str(project.folder), "PATH": cluster.path},
            stdout=log, stderr=log,
        )  # fmt: skip


def end(project: Project, running: subprocess.Popen, seconds: float) -> str:
    try:
        code = running.wait(seconds)
    finally:
        running.kill()
    text = project.path("run.log").read_text(encoding="utf-8")
    assert code == 0, text[-6000:]
    return text


def test_faults_on_a_cluster(cluster, finished, tmp_path):
    project = copy_project(tmp_path / "project")
    project.configure(config())
    project.path("sitecustomize.py").write_text(HANG, encoding="utf-8")
    limits = ["--set-resources", "pretrain:runtime=attempt"]
    running = start(project, cluster, "--workflow-profile", "profiles/slurm", *limits)
    try:
        hung = {name: project.path(f"results/backbones/{name}/.hung") for name in ("rn", "vit")}
        wait_for(
            lambda: (
                running.poll() is not None or all(h.exists() and h.read_text(encoding="utf-8") for h in hung.values())
            ),
            400,
        )
        assert running.poll() is None, project.path("run.log").read_text(encoding="utf-8")[-4000:]
        job = {name: path.read_text(encoding="utf-8") for name, path in hung.items()}

        cluster.stop("slurmd")
        cluster.stop("slurmctld")
        assert "DOWN" in cluster.client("scontrol", "ping", code=None)
        cluster.start_controller()
        cluster.start_node()
        assert {cluster.jobs()[number] for number in job.values()} == {"RUNNING"}

        cluster.client("scancel", job["vit"])
        wait_for(lambda: cluster.jobs()[job["vit"]] == "CANCELLED", 60)
        wait_for(lambda: cluster.jobs()[job["rn"]] == "TIMEOUT", 180)
        text = end(project, running, 2400 if WHOLE else 900)
    finally:
        running.kill()

    plan = Plan(project.config)
    same_results(plan, project, finished)
    same_tables(project, finished, tmp_path)
    nothing_lost_nothing_twice(plan, text, cluster)
    ended = {entry["JobId"]: entry for entry in cluster.ended()}
    assert (ended[job["vit"]]["JobState"], ended[job["rn"]]["JobState"]) == ("CANCELLED", "TIMEOUT")
    limits = sorted(entry["TimeLimit"] for entry in ended.values() if entry["TimeLimit"] in ("1", "2"))
    assert limits == ["1", "1", "2", "2"], "the second attempt asks for more time"
    for name in ("rn", "vit"):
        log = project.path(f"results/backbones/{name}/train.jsonl").read_text(encoding="utf-8")
        steps = [json.loads(line)["step"] for line in log.splitlines()]
        assert steps == list(range(10))
        assert not project.path(f"results/backbones/{name}/last.ckpt").exists()
        log = project.path(f"results/logs/pretrain/backbones/{name}.log").read_text(encoding="utf-8")
        assert "goes on from step" in log, "it was resumed, not started again"
    if keep := os.environ.get("ZSR_SLURM_LOG"):
        shutil.copy(project.path("run.log"), keep)


def same_results(plan: Plan, project: Project, finished: Project) -> None:
    """Each result has the bytes of the local run's."""
    for job in plan.jobs.values():
        if job.rule not in ("tables", "figures", "gallery", "report"):
            here, there = (
                json.loads((p.folder / plan.results / job.record).read_text(encoding="utf-8"))
                for p in (project, finished)
            )
            content = {name for name in here["digests"] if name != "log"}
            assert {n: here["digests"][n] for n in content} == {n: there["digests"][n] for n in content}, job.title


def same_tables(project: Project, finished: Project, tmp_path: Path) -> None:
    """The tables of the cluster's cells are those of the local run's cells, character for character but for seconds."""
    local = Project(tmp_path / "local")
    shutil.copytree(finished.folder, local.folder, symlinks=True, copy_function=shutil.copy2)
    local.configure(config())
    local.snakemake("--until", "tables")
    for name in ("cells", "sets", "methods", "paired", "fooled"):
        here, there = (pandas.read_csv(p.path(f"results/tables/{name}.csv"), dtype=str) for p in (project, local))
        same = [column for column in here.columns if column != "seconds"]
        pandas.testing.assert_frame_equal(here[same], there[same], obj=name)


def nothing_lost_nothing_twice(plan: Plan, text: str, cluster: Cluster) -> None:
    """One completed SLURM job for each job of the plan; another submission only after a failure."""
    local = {"adopt", "tables", "figures", "report"}
    wanted = sum(job.rule not in local for job in plan.jobs.values())
    states = [entry["JobState"] for entry in cluster.ended()]
    assert states.count("COMPLETED") == wanted
    assert sorted(state for state in states if state != "COMPLETED") == ["CANCELLED", "TIMEOUT"]
    submitted = re.findall(r"^Job (\d+) has been submitted with SLURM jobid (\d+)", text, re.MULTILINE)
    assert len(submitted) == len(states) == wanted + 2
    assert len(re.findall(r"^Finished jobid: ", text, re.MULTILINE)) == len(plan.jobs) + 1  # and rule all
    assert not cluster.jobs(states="PENDING,RUNNING,COMPLETING")


def test_by_profile_alone_and_in_arrays(cluster, finished, tmp_path):
    """`--profile profiles/slurm` beside the default profile that loads itself; the cells as one array."""
    project = Project(tmp_path / "project")
    shutil.copytree(finished.folder, project.folder, symlinks=True, copy_function=shutil.copy2)
    cells = sorted(project.folder.glob("results/eval/mini/rn.clip/drawn-colour/*/*.parquet"))
    for path in cells:
        path.unlink()
    named = project.config
    project.configure({**named, "device": "auto"})
    refused = start(project, cluster, "--profile", "profiles/slurm")
    assert refused.wait(120) != 0
    assert "device: auto is resolved on the machine that starts Snakemake" in project.path("run.log").read_text(
        encoding="utf-8"
    )
    assert not cluster.ended(), "no job was submitted"
    project.configure(named)
    running = start(project, cluster, "--profile", "profiles/slurm", "--slurm-array-jobs", "evaluate")
    text = end(project, running, 600)
    assert len(cells) >= 2
    assert all(path.exists() for path in cells)
    assert [entry["JobState"] for entry in cluster.ended()] == ["COMPLETED"] * (len(cells) + 1)  # and the gallery
    assert f"individual task IDs are 1-{len(cells)}" in text, text
    same_results(Plan(project.config), project, finished)

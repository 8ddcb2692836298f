"""A disk that is full or read-only: one line, nothing half-written, and the same bytes once there is room."""

import contextlib
import json
import os
import resource
import subprocess
from pathlib import Path

import pytest
from support.jobs import run

from zsr.errors import ZsrError
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.results_folder import check_writable

pytestmark = pytest.mark.slow
# what has room in half of what each kind of job writes
ROOM = {"prepare": 100_000, "pretrain": 100_000, "heads": 100, "finetune": 100_000, "evaluate": 2_000}


def one_of_each(plan: Plan) -> dict[str, PlannedJob]:
    """The largest result of each kind is as good as any."""
    return {job.rule: job for job in plan.jobs.values() if job.rule in ROOM}


@contextlib.contextmanager
def mounted(folder: Path, options: str):
    """A file system in memory, where this may be done; the test is skipped elsewhere."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "zsr-test", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def content(project, plan: Plan, job: PlannedJob) -> dict[str, str]:
    """The digests of a finished result, but that of the log of seconds."""
    digests = json.loads((project.folder / plan.results / job.record).read_text(encoding="utf-8"))["digests"]
    return {name: value for name, value in digests.items() if name != "log"}


def refused(said: str, code: int, folder: Path, job: PlannedJob) -> None:
    assert code == 1, said
    assert "Traceback" not in said, said
    lines = [line for line in said.splitlines() if line.startswith("zsr: ")]
    assert len(lines) == 1 and "then run again" in lines[0], said
    assert any(reason in lines[0] for reason in ("No space left", "File too large", "could not be written")), said
    assert not any((folder / path).exists() for path in job.outputs.values()), "nothing under a final name"
    assert not list(folder.rglob(f".{Path(job.record).name}*"))


@pytest.mark.parametrize("rule", ROOM)
def test_a_full_disk(finished, tmp_path, rule):
    plan = Plan(finished.config)
    job = one_of_each(plan)[rule]
    small = tmp_path / "small"
    with mounted(small, "size=16M"):
        for path in job.outputs.values():
            (small / path).parent.mkdir(parents=True, exist_ok=True)
        filler = small / "filler"
        room = os.statvfs(small)
        size = room.f_bavail * room.f_frsize - (ROOM[rule] // 4096 + 1) * 4096
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        code, said = run(finished, plan, job, small)
        refused(said, code, small, job)
        filler.unlink()
        code, said = run(finished, plan, job, small)
        assert code == 0, said
        digests = json.loads((small / job.record).read_text(encoding="utf-8"))["digests"]
        assert {name: digests[name] for name in content(finished, plan, job)} == content(finished, plan, job)


@pytest.mark.parametrize("rule", ROOM)
def test_a_file_that_may_not_grow(finished, tmp_path, rule):
    """A limit on a file's size: the same errors where nothing can be mounted."""
    plan = Plan(finished.config)
    job = one_of_each(plan)[rule]
    limit = ROOM[rule]
    code, said = run(
        finished, plan, job, tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    refused(said, code, tmp_path, job)


def test_read_only_results(finished, tmp_path):
    plan = Plan(finished.config)
    job = one_of_each(plan)["heads"]
    folder = tmp_path / "results"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        if os.getuid() == 0:  # who may write everywhere is stopped by the file system alone
            stack.enter_context(mounted(folder, "ro"))
        else:
            folder.chmod(0o555)
        with pytest.raises(ZsrError, match="cannot be written"):
            check_writable(folder)
        code, said = run(finished, plan, job, folder)
        assert code == 1 and "Traceback" not in said
        assert [line for line in said.splitlines() if "Read-only file system" in line or "Permission denied" in line]

"""The life of a job: read the spec, check that code and packages are the spec's, do the work, publish the results.

    python -m workflow.scripts.evaluate --spec '{…}' --input model=… --output rows=… record=…

Outputs are written under temporary names and renamed only at the end, after the code's fingerprint was taken again:
a result whose code was edited while the job was queued or running never lands. The record is written last.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from zsr.guard.environment import refuse_changing_variables
from zsr.guard.watch import own, unwatched
from zsr.hashing import canonical, file_digest, short_hash
from zsr.jobs import gpu_locks
from zsr.jobs.code import check_code
from zsr.jobs.cost import START
from zsr.jobs.environment import check_packages, machine, versions
from zsr.jobs.failure import fail, reason
from zsr.jobs.stopping import die_with_parent, ignore_stops, interrupt, on_stop
from zsr.storage import input_hashes, layout, records

CACHES = ("TRITON_CACHE_DIR", "XDG_CACHE_HOME", "TORCH_HOME", "TMPDIR")  # folders of libraries, maybe in the checkout


class JobRun:
    """One run of a job: its spec, the files that it reads and writes, and what goes into its record."""

    def __init__(self, spec: dict, inputs: dict[str, list[Path]], outputs: dict[str, Path]) -> None:
        self.spec = spec
        self.hash = short_hash(canonical(spec))
        self._inputs = inputs
        self._records: dict[str, dict] = {}  # role -> its record, read once
        self.final = outputs
        self.outputs = {name: path.with_name(f".{path.name}.part") for name, path in outputs.items()}
        self.facts: dict = {}  # what goes into the record beside spec and digests
        self.read: dict[str, str] = {}  # role -> the hash of what this job reads (zsr/storage/input_hashes.py)

    # -- what the work asks for ---------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where the results lie; a checkpoint of unfinished work may lie there too."""
        return self.final["record"].parent

    @property
    def results(self) -> str:
        """The results folder, for the jobs that read everything."""
        depth = len(Path(layout.OUTPUTS[self.spec["job"]]["record"]).parts)
        return str(self.final["record"].parents[depth - 1])

    def input(self, name: str) -> Path:
        """The one file given as --input name=…"""
        (path,) = self._inputs[name]
        return path

    def record(self, role: str) -> dict:
        """The record of an upstream result, checked against the spec that this job names for it."""
        if role not in self._records:
            self._records[role] = records.read_record(self.input(role), self.spec["needs"][role])
        return self._records[role]

    def digest(self, role: str, output: str) -> str:
        """The digest of one file of an upstream result, as its record says."""
        return self.record(role)["digests"][output]

    def path(self, role: str, output: str) -> Path:
        """One file of an upstream result: it lies beside the record, which is the input."""
        record = self.input(role)
        pattern = Path(layout.OUTPUTS[self.record(role)["spec"]["job"]][output])
        return record.with_name(pattern.name) if record.name == "manifest.json" else record.with_suffix(pattern.suffix)

    def checked(self, role: str, output: str) -> Path:
        """One file of an upstream result, whose bytes are those of its record."""
        return records.check_digest(self.path(role, output), self.digest(role, output))

    def weights(self, role: str) -> Path:
        """The weights of an upstream backbone or model; whoever loads them checks their bytes."""
        return self.path(role, "weights")

    def embeddings(self, role: str = "head") -> Path:
        """The class embeddings that this job reads, their bytes checked."""
        return self.checked(role, "head")

    @cached_property
    def resumable(self) -> str:
        """What unfinished work goes on from: this spec, on upstream results of these very bytes."""
        read = {role: self.record(role)["digests"] for role in sorted(self.spec["needs"])}
        return short_hash(canonical([self.hash, read]))

    # -- the life around the work -------------------------------------------------------------------------------------

    def check_code(self) -> dict[str, str]:
        """Compare the code with the spec's (zsr/jobs/code.py); what this job reads and writes is the user's own."""
        with unwatched():
            caches = [folder for name in CACHES if (folder := os.environ.get(name))]
        read = [path for paths in self._inputs.values() for path in paths]
        beside = [path.parent for path in read if path.suffix == ".json"]  # the files of a record
        own(self.results, *read, *beside, *caches)
        return check_code(self.spec["job"], self.spec["code"])

    def note_inputs(self) -> None:
        """Keep of which bytes this result will be made; a job that reads whole lists says so itself."""
        roles = self._inputs.keys() & self.spec["needs"].keys()
        self.read = {role: input_hashes.hash_of([self.record(role)]) for role in sorted(roles)}

    def publish(self, code_files: dict[str, str]) -> None:
        """Rename the outputs into place, the record last: it says what the others must be."""
        files = {name: path for name, path in self.outputs.items() if name != "record"}
        record = {
            "spec_hash": self.hash,
            "spec": self.spec,
            "digests": {name: file_digest(path) for name, path in files.items()},
            "read": self.read,
            **self.facts,
            "seconds": round(time.time() - START, 3),
            "versions": versions(self.spec["environment"]["name"]),
            "machine": machine(),
            "code_files": code_files,
        }
        record["seal"] = records.seal(json.loads(json.dumps(record)))
        records.write_json(self.outputs["record"], record)  # before any has its final name: the disk may be full
        for name, path in files.items():
            os.replace(path, self.final[name])
        os.replace(self.outputs["record"], self.final["record"])

    def discard(self, stopped: bool = False) -> None:
        """Remove what was written under temporary names: on a full disk it would only be in the way.

        A preparation that was stopped goes on from its half-filled array, beside which lies a note of what is done.
        """
        for path in self.outputs.values():
            if stopped and any(path.parent.glob(f".{path.name}.*.done.npy")):
                continue
            with suppress(OSError):  # the reason why the job failed may hold for this too; that is what is reported
                path.unlink()


def run(work: Callable[[JobRun], None], arguments: list[str] | None = None) -> None:
    """The whole life of a job; ends the process, with one line on a mistake (ZSR_TRACEBACK=1 shows where)."""
    die_with_parent()
    on_stop(interrupt)
    job = parse(arguments)
    try:
        os.environ["OMP_NUM_THREADS"] = str(job.spec.get("threads", 1))  # before torch and numpy are imported
        if job.spec.get("device") == "cuda":
            gpu_locks.take_for(job.spec)
        refuse_changing_variables()
        check_packages(job.spec["environment"])
        code_files = job.check_code()
        job.note_inputs()
        for path in job.outputs.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        work(job)
        job.check_code()
        job.publish(code_files)
    except KeyboardInterrupt:
        ignore_stops()
        job.discard(stopped=True)
        sys.exit("zsr: stopped by a signal; the next run makes it")  # to the log: who asked for it knows
    except Exception as error:
        job.discard()
        if (line := reason(error, job.folder)) is None:
            raise
        fail(line)


def parse(arguments: list[str] | None) -> JobRun:
    """The job that a command line describes."""
    parser = argparse.ArgumentParser(description="One job of the workflow; started by its rule.")
    parser.add_argument("--spec", required=True, help="canonical JSON, made by zsr.plan.plan")
    parser.add_argument("--input", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--output", nargs="+", required=True, metavar="NAME=FILE")
    given = parser.parse_args(arguments)
    inputs: dict[str, list[Path]] = {}
    for name, _, path in (entry.partition("=") for entry in given.input):
        if path:  # `name=`: an input that this job has no need of
            inputs.setdefault(name, []).append(Path(path))
    outputs = {name: Path(path) for name, _, path in (entry.partition("=") for entry in given.output)}
    return JobRun(json.loads(given.spec), inputs, outputs)

"""What every job does around its work: read the spec, check that code and packages are the spec's, publish the results.

    python -m workflow.scripts.evaluate --spec '{…}' --input model=… --output rows=… record=…

Outputs are written under temporary names and renamed only at the end, after the code's fingerprint was taken again:
a result whose code was edited while the job was queued or running never lands. The record is written last.
"""

import argparse
import ctypes
import json
import os
import platform
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zsr.errors import ROOM, ZsrError, system_reason
from zsr.guard.environment import refuse_changing_variables
from zsr.guard.watch import WATCH, own, unwatched
from zsr.hashing import file_digest
from zsr.jobs import gpu_locks
from zsr.jobs.cost import process_start
from zsr.jobs.stopping import be_deaf, interrupt, on_stop
from zsr.plan import fingerprint
from zsr.storage import input_hashes, layout, records

START = process_start()


class Job:
    """The spec, the files it names, and what the work reports."""

    def __init__(self, spec: dict, inputs: dict[str, list[Path]], outputs: dict[str, Path]) -> None:
        self.spec = spec
        self.hash = fingerprint.short_hash(fingerprint.canonical(spec))
        self._inputs = inputs
        self.final = outputs
        self.outputs = {name: path.with_name(f".{path.name}.part") for name, path in outputs.items()}
        self.facts: dict = {}  # what goes into the record beside spec and digests
        self.read: dict[str, str] = {}  # role -> the hash of what this job reads (zsr/storage/input_hashes.py)

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

    def inputs(self, name: str) -> list[Path]:
        """All files given as --input name=…"""
        return self._inputs.get(name, [])

    def record(self, name: str) -> dict:
        """The record of an upstream result, checked against the spec that this job names for it."""
        return records.read_record(self.input(name), self.spec["needs"][name])

    @cached_property
    def resumable(self) -> str:
        """What unfinished work goes on from: this spec, on upstream results of these very bytes."""
        read = {name: self.record(name)["digests"] for name in sorted(self.spec["needs"])}
        return fingerprint.short_hash(fingerprint.canonical([self.hash, read]))

    def note_inputs(self) -> None:
        """Keep of which bytes this result will be made; a job that reads whole lists says so itself."""
        roles = self._inputs.keys() & self.spec["needs"].keys()
        self.read = {role: input_hashes.hash_of([self.record(role)]) for role in sorted(roles)}

    def embeddings(self, name: str = "head") -> Path:
        """The class embeddings that this job reads, checked against the digest of their record."""
        return records.check_digest(self.input(name).with_suffix(".safetensors"), self.record(name)["digests"]["head"])

    def check_code(self) -> dict[str, str]:
        """Compare the code on disk, and the code that this process imported, with the spec's fingerprint.

        Returns the hash of each file. From here on no other file of the project may be used (zsr/guard/watch.py).
        """
        with unwatched():  # caches of libraries may lie in the checkout
            caches = [os.environ.get(name) for name in ("TRITON_CACHE_DIR", "XDG_CACHE_HOME", "TORCH_HOME", "TMPDIR")]
        read = [path for paths in self._inputs.values() for path in paths]
        beside = [path.parent for path in read if path.suffix == ".json"]  # the files of a record
        own(self.results, *read, *beside, *filter(None, caches))
        fingerprint.forget()
        wanted = dict(self.spec["code"])
        planned = wanted.pop("digest")
        with unwatched():
            found = fingerprint.fingerprint(**wanted)
        if found.digest != planned:
            raise ZsrError(
                f"{self.spec['job']}: the code changed after this job was planned (fingerprint {found.digest}, "
                f"planned {planned}); run snakemake again"
            )
        WATCH.check(found.files)
        for name, contents in WATCH.used.items():
            if name in found.files and not all(found.has(name, content) for content in contents):
                raise ZsrError(
                    f"{self.spec['job']}: {name} changed after this job was planned and was put back; what this job "
                    "ran is not what its spec says; run snakemake again"
                )
        return found.files

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


def run(work: Callable[[Job], None], arguments: list[str] | None = None) -> None:
    """The whole life of a job; ends the process, with one line on a mistake (ZSR_TRACEBACK=1 shows where)."""
    die_with_parent()
    on_stop(interrupt)
    job = parse(arguments)
    try:
        os.environ["OMP_NUM_THREADS"] = str(job.spec.get("threads", 1))  # before torch and numpy are imported
        if job.spec.get("device") == "cuda":
            take_cards(job.spec)
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
        be_deaf()
        job.discard(stopped=True)
        sys.exit("zsr: stopped by a signal; the next run makes it")  # to the log: who asked for it knows
    except ZsrError as error:
        job.discard()
        fail(str(error))
    except MemoryError:
        job.discard()
        fail("out of memory; give the job more (mem_mb) or make its batch smaller")
    except Exception as error:
        job.discard()
        if type(error).__name__ == "OutOfMemoryError":  # torch's; it may not be imported yet
            fail("out of memory on the GPU; make the batch smaller, or let fewer cells share a card (cells_per_gpu)")
        reason = refusal(error, job.folder)
        if reason is None:
            raise
        fail(f"{reason}; {ROOM}, then run again")


def parse(arguments: list[str] | None) -> Job:
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
    return Job(json.loads(given.spec), inputs, outputs)


def refusal(error: Exception, folder: Path) -> str | None:
    """What the system said when it refused to read or write, or None; safetensors and torch have words of their own."""
    if isinstance(error, OSError):
        return f"{error.filename or folder}: {system_reason(error)}"
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        return f"{folder}: the results could not be written: {os.strerror(int(found[1]))}"
    if "PytorchStreamWriter" in str(error):
        return f"{folder}: the checkpoint could not be written"
    return None


def take_cards(spec: dict) -> None:
    """A training has a card for each of its processes; other jobs may share one (ZSR_CELLS_PER_GPU, from the rules)."""
    if spec["job"] in ("pretrain", "finetune"):
        gpu_locks.take(count=spec["recipe"].get("processes", 1))
    else:
        gpu_locks.take(share=int(os.environ.get("ZSR_CELLS_PER_GPU", "1")))


def fail(line: str) -> None:
    """One line, in the log and (descriptor 3, opened by the rule) on the terminal."""
    if os.environ.get("ZSR_TRACEBACK"):
        traceback.print_exc()
    print(f"zsr: {line}", file=sys.stderr, flush=True)
    try:
        os.write(3, f"zsr: {line}\n".encode(errors="surrogateescape"))
    except OSError:
        sys.stderr.flush()  # run by hand: there is no descriptor 3, and the line above was seen
    sys.exit(1)


def die_with_parent() -> None:
    """Linux: end this process when the one that started it ends, however it ends; no orphan trains on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def prefer_this_python() -> None:
    """For Snakemake's own process: jobs run on its Python, also where `.venv` was not activated."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def check_packages(environment: dict) -> None:
    """The packages that run must be the pins that the spec names, or the spec would lie."""
    name = environment["name"]
    with unwatched():  # the spec holds them
        found, pins = fingerprint.environment(name), fingerprint.pins(name)
    if found != environment["pins"]:
        raise ZsrError(f"envs/{name}.yaml changed after this job was planned; run snakemake again")
    for package, pinned in pins.items():
        if package in ("python", "pip"):
            continue
        found = installed(package)
        if found.split("+")[0] != pinned:
            raise ZsrError(
                f"{package} {found} is installed, envs/{name}.yaml pins {pinned}; run `make venv`, or change the pin "
                "there and in requirements.lock"
            )


def installed(package: str) -> str:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def versions(environment: str) -> dict[str, str]:
    """What a record says of the software."""
    packages = {name: installed(name) for name in fingerprint.pins(environment) if name not in ("python", "pip")}
    return {"python": platform.python_version(), **packages}


def machine() -> dict[str, object]:
    """What a record says of the hardware; the host's name is nobody's business."""
    found: dict[str, object] = {"system": platform.platform(), "cpu": platform.machine(), "cores": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found

"""The jobs of a plan as a graph: what each makes, from what, and the one spec that decides whether it is remade.

A spec is canonical JSON. It holds all that can change the result (settings, seeds, precision, threads, the pins of
the environment, the code's fingerprint, the hash of each upstream spec) and nothing that cannot. It is the only
Snakemake param of its rule. Nothing here imports torch: every cluster job parses the Snakefile again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from shlex import quote
from typing import Any

from zsr.errors import ZsrError
from zsr.hashing import canonical, short_hash
from zsr.plan.environments import environment
from zsr.plan.fingerprint import fingerprint
from zsr.storage import layout

SCRIPTS = "workflow/scripts"
TRITON = "zsr_kernels/cuda"
LONGEST = 120_000  # bytes of a spec: Linux takes 128 KiB in one argument, and the command has paths beside it

Spec = dict[str, Any]  # what canonical JSON can hold
JobKey = tuple[str, tuple[tuple[str, str], ...]]  # rule, sorted wildcards


@dataclass(frozen=True, eq=False)
class PlannedJob:
    """One node of the DAG. The plan makes each once, so two are equal only if they are the same object."""

    rule: str
    wildcards: dict[str, str]
    spec: Spec
    needs: dict[str, "PlannedJob"] = field(repr=False)  # role -> the job whose result is read

    @cached_property
    def text(self) -> str:
        """The rule's only param."""
        return canonical(self.spec)

    @cached_property
    def hash(self) -> str:
        """Names the spec in everything downstream."""
        return short_hash(self.text)

    @cached_property
    def outputs(self) -> dict[str, str]:
        """output -> path below the results folder."""
        return {name: pattern.format(**self.wildcards) for name, pattern in layout.OUTPUTS[self.rule].items()}

    @property
    def record(self) -> str:
        """The JSON file that carries the spec; it stands for the whole result."""
        return self.outputs["record"]

    @property
    def title(self) -> str:
        """How people read it: `evaluate rn.tecoa.s0 digits pgd 2_255`."""
        return " ".join([self.rule, *self.wildcards.values()])


class Graph:
    """Jobs by rule and wildcards, and by the files that they make."""

    def __init__(self) -> None:
        self.jobs: dict[JobKey, PlannedJob] = {}
        self._paths: dict[str, PlannedJob] = {}

    def spec(self, rule: str, wildcards: Iterable[tuple[str, str]] | dict[str, str]) -> str:
        """The canonical spec of a job, for the rule's param."""
        return self.job(rule, wildcards).text

    def job(self, rule: str, wildcards: Iterable[tuple[str, str]] | dict[str, str]) -> PlannedJob:
        """The job of a rule and its wildcards."""
        key = (rule, tuple(sorted(dict(wildcards).items())))
        if key not in self.jobs:
            raise ZsrError(f"{rule} {dict(wildcards)}: not in this config's plan")
        return self.jobs[key]

    def owner(self, path: str) -> PlannedJob | None:
        """The job that makes a file (path below the results folder)."""
        return self._paths.get(path)

    def add(
        self,
        rule: str,
        wildcards: dict[str, str],
        spec: Spec,
        needs: dict[str, PlannedJob],
        env: str,
        roots: Iterable[str] = (),
        script: str = "",
    ) -> PlannedJob:
        """A job with its whole spec; two callers that ask for one path must ask for the same.

        `script` is the job's script where it is not named for its rule.
        """
        key = (rule, tuple(sorted(wildcards.items())))
        roots = sorted({f"{SCRIPTS}/{script or rule}.py", *roots})
        code: Spec = {"roots": roots}
        if spec.get("device") == "cpu" and spec.get("kernels") != "triton":
            code["without"] = [TRITON]  # is not imported there
        spec = {
            "job": rule,
            **spec,
            "needs": {role: job.hash for role, job in needs.items()},
            "code": {**code, "digest": fingerprint(**code).digest},
            "environment": {"name": env, "pins": environment(env)},
        }
        job = PlannedJob(rule, wildcards, spec, needs)
        if len(job.text) > LONGEST // 4 and (size := len(quote(job.text).encode())) > LONGEST:
            raise ZsrError(
                f"{job.title}: its spec has {size} bytes, and a command takes {LONGEST}; fewer models in a config, or "
                "fewer and shorter class names and templates"
            )
        if key in self.jobs:
            if self.jobs[key].text != job.text:
                raise ZsrError(f"{job.title}: the config asks for two different results at one path; rename one")
            return self.jobs[key]
        self.jobs[key] = job
        self._paths |= dict.fromkeys(job.outputs.values(), job)
        return job


def needs_of(jobs: Iterable[PlannedJob]) -> list[PlannedJob]:
    """The jobs whose results these jobs read, each once."""
    return list(dict.fromkeys(need for job in jobs for need in job.needs.values()))


def digest_of(jobs: Iterable[PlannedJob]) -> str:
    """One hash for a list of results: where each lies and what it must be."""
    return short_hash("\n".join(f"{job.record} {job.hash}" for job in jobs))

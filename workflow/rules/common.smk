# What all rules share: the plan, the paths, how a job is started.

import os
import sys

from snakemake.exceptions import WorkflowError

# the checkout first: rules, library and kernels of one version
sys.path.insert(0, workflow.basedir)

from zsr import layout
from zsr.errors import ZsrError
from zsr.job import prefer_this_python
from zsr.memory import refuse_forgotten
from zsr.plan import Plan
from zsr.store import check_writable

ROOT = workflow.basedir

# Jobs find the library of this checkout, and the Python that runs Snakemake where no conda environment is active.
prefer_this_python()
shell.prefix(f"export PYTHONPATH={ROOT!r} PYTHONHASHSEED=0; ")


# `gpu` is counted where Snakemake itself runs the jobs; a cluster's scheduler counts its own (profiles/slurm).
resource_scopes:
    gpu="local",


def planned():
    """The plan of the config; a mistake in it is one line, not a traceback."""
    try:
        plan = Plan(config)
        check_writable(plan.results)
        refuse_forgotten(plan, os.path.join(".snakemake", "metadata"))
        return plan
    except ZsrError as error:
        if os.environ.get("ZSR_TRACEBACK"):
            raise
        raise WorkflowError(str(error)) from None


PLAN = planned()
RESULTS = PLAN.config["results"]
DEVICE = PLAN.config["device"]
THREADS = PLAN.config["threads"]


def out(rule, name):
    """The path pattern of one output of a rule."""
    return f"{RESULTS}/{layout.OUTPUTS[rule][name]}"


def about(kind, rule):
    """The path pattern of a rule's log or benchmark, found by rule and wildcards."""
    return f"{RESULTS}/{layout.about(kind, rule)}"


def start(rule, *inputs):
    """The shell command of a job: its script, its spec, what it reads and what it makes.

    Descriptor 3 is the terminal: the log takes all that a job says, the one line of a mistake goes to both.
    `exec`: the job is Snakemake's own child, so that it ends when Snakemake does.
    """
    read = " ".join(f"{name}={{input.{name}:q}}" for name in inputs)
    made = " ".join(f"{name}={{output.{name}:q}}" for name in layout.OUTPUTS[rule])
    return (
        f"exec 3>&2; exec python -P -m workflow.scripts.{rule} --spec {{params.spec:q}}"
        f" --input {read} --output {made} > {{log:q}} 2>&1"
    )


def spec_of(rule):
    """The rule's only param. The function takes wildcards alone: with `input`, Snakemake would record no param."""

    def spec(wildcards):
        return PLAN.spec(rule, wildcards.items())

    return spec


def need(rule, role, name="record"):
    """The path of what a job reads, from the plan."""

    def path(wildcards):
        return (
            f"{RESULTS}/{PLAN.job(rule, wildcards.items()).needs[role].outputs[name]}"
        )

    return path


def records(jobs):
    """The records of a list of jobs."""
    return [f"{RESULTS}/{job.record}" for job in jobs]


def results_of(jobs):
    """All files of a list of jobs."""
    return [f"{RESULTS}/{path}" for job in jobs for path in job.outputs.values()]


def everything():
    """What `rule all` asks for."""
    return results_of([*PLAN.cells, PLAN.tables, PLAN.figures, PLAN.report])


def gpus():
    """GPU jobs ask for one card; on the CPU a `gpu: 1` would make them run one by one."""
    return 1 if DEVICE == "cuda" else 0


def megabytes(cpu, cuda):
    """Memory of a job, doubled on each retry."""

    def mem_mb(wildcards, attempt):
        return (cuda if DEVICE == "cuda" else cpu) * 2 ** (attempt - 1)

    return mem_mb


def minutes(cpu, cuda):
    """Run time of a job for a cluster's scheduler, doubled on each retry."""

    def runtime(wildcards, attempt):
        return (cuda if DEVICE == "cuda" else cpu) * 2 ** (attempt - 1)

    return runtime

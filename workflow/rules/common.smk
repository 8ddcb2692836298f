# What all rules share: the plan, the paths, how a job is started.

import os
import re
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

# the checkout first: rules, library and kernels of one version
sys.path.insert(0, workflow.basedir)

from zsr.storage import layout, run_lock
from zsr.checks.checkout import refuse_other_checkout
from zsr.jobs.ctrl_c import stop_on_ctrl_c
from zsr.checks.changed_files import refuse_changed
from zsr.checks.required_files import check_variables, room, shortages
from zsr.data.sources import tell_jobs
from zsr.config.device import (
    refuse_auto_on_cluster,
    refuse_missing_gpu,
    refuse_other_device,
    unused_gpu_warning,
)
from zsr.errors import ZsrError
from zsr.checks.snakemake_memory import METADATA
from zsr.checks.stale_results import adoptable_notice, refuse_forgotten
from zsr.jobs.environment import prefer_this_python
from zsr.env_paths import expand
from zsr.plan.plan import Plan
from zsr.storage.results_folder import check_writable, mark
from zsr.jobs.snakemake_scheduler import look_when_jobs_end

ROOT = workflow.basedir

# Jobs run on the Python that runs Snakemake where no conda environment is active.
prefer_this_python()


# `gpu` is counted where Snakemake itself runs the jobs; a cluster's scheduler counts its own (profiles/slurm).
resource_scopes:
    gpu="local",


@contextmanager
def one_line():
    """A mistake inside the block is one line, not a traceback."""
    try:
        yield
    except ZsrError as error:
        if os.environ.get("ZSR_TRACEBACK"):
            raise
        raise WorkflowError(str(error)) from None
    except OSError as error:
        raise WorkflowError(f"{error.filename}: {error.strerror}") from None


def planned():
    """The plan of the config, and a look at the results that are there."""
    with one_line():
        configs = [Path(path).parent for path in workflow.configfiles]
        refuse_other_checkout(Path(workflow.basedir), Path.cwd(), *configs)
        plan = Plan(config)
        check_variables(plan)
        check_writable(plan.results)
        refuse_other_device(config, plan)
        refuse_forgotten(plan, METADATA)
        refuse_changed(plan)
    if workflow.is_main_process and (line := adoptable_notice(plan, METADATA)):
        print("zsr:", line, file=sys.stderr)
    return plan


PLAN = planned()
RESULTS = PLAN.config.results
tell_jobs(PLAN.config.data_root, PLAN.config.download)
DEVICE = PLAN.config.device
THREADS = PLAN.config.threads

# Jobs find the library of this checkout; how many cells share a card changes no result, so it is in no spec.
# They ignore Ctrl-C: zsr/jobs/ctrl_c.py asks them to stop.
HOOKS = workflow.is_main_process and not getattr(
    workflow.execution_settings, "no_hooks", True
)
shell.prefix(
    ("trap '' INT; " if HOOKS else "")
    + f"export PYTHONPATH={quote(ROOT)} PYTHONHASHSEED=0 PYTHONUTF8=1 ZSR_CELLS_PER_GPU={PLAN.config.cells_per_gpu}; "
)


def warn():
    """Say up front what the disk will not hold, and that a GPU is not used."""
    for line in filter(None, [*shortages(room(PLAN)), unused_gpu_warning(DEVICE)]):
        print("zsr:", line, file=sys.stderr)


def check_cluster():
    """Refuse a device that was resolved here for jobs that run on other machines, or that this machine lacks."""
    with one_line():
        refuse_auto_on_cluster(config, workflow.local_exec)
        jobs = workflow.dag.needrun_jobs() if workflow.local_exec else ()
        refuse_missing_gpu(
            DEVICE, jobs, not workflow.deployment_settings.deployment_method
        )


def hold_results():
    """No other run may write these results meanwhile. Dry runs and the jobs of a cluster have no hooks: they hold
    nothing."""
    with one_line():
        run_lock.take(PLAN.results)


def release_results():
    """Let other runs in; where no hook is called, the end of the process does it."""
    run_lock.release(PLAN.results)


def mark_results():
    """Say in a new results folder that zsr made it."""
    with one_line():
        mark(PLAN.results)


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
        return PLAN.graph.spec(rule, wildcards.items())

    return spec


def need(rule, role, name="record"):
    """The path of what a job reads, from the plan."""

    def path(wildcards):
        job = PLAN.graph.job(rule, wildcards.items())
        ask_for_what_is_gone(job, [job.needs[role]])
        return f"{RESULTS}/{job.needs[role].outputs[name]}"

    return path


@cache
def gone(job):
    """The files of a result that are not there."""
    paths = [f"{RESULTS}/{path}" for path in job.outputs.values()]
    return [path for path in paths if not os.path.exists(path)]


def ask_for_what_is_gone(job, read):
    """Make again what is gone though a result that was made of it is there, and so all that was made of it.

    `rule all` asks for every file. Where the user names a target, Snakemake looks for what the target reads, and not
    for what that was made of in its turn.
    """
    if workflow.is_main_process and workflow.dag_settings.targets and not gone(job):
        workflow.dag.forcefiles.update(path for other in read for path in gone(other))


def named(rule, wildcard):
    """A constraint to the names that the plan gives to a rule: two rules may make the same kind of result."""
    names = sorted(
        {job.wildcards[wildcard] for job in PLAN.jobs.values() if job.rule == rule}
    )
    return "|".join(re.escape(name) for name in names) or "(?!)"


def cells_of(rule):
    """A constraint of `protocol` to the cells that the plan gives to a rule: the dataset decides too."""
    cells = [job.wildcards for job in PLAN.jobs.values() if job.rule == rule]
    found = {}
    for cell in cells:
        found.setdefault(cell["protocol"], set()).add(cell["dataset"])
    return (
        "|".join(
            rf"{re.escape(name)}(?=/[^/]+/(?:{'|'.join(map(re.escape, sorted(sets)))})/)"
            for name, sets in sorted(found.items())
        )
        or "(?!)"
    )


def local_file(rule, role="weights"):
    """The local file that a backbone or a published model comes from; nothing if it comes from the hub."""

    def paths(wildcards):
        files = PLAN.upstream.files.get(
            PLAN.graph.job(rule, wildcards.items()).record, {}
        )
        return expand(files[role]) if role in files else []

    return paths


def shards(name):
    """One output of every shard of a cell."""

    def paths(wildcards):
        job = PLAN.graph.job("merge", wildcards.items())
        parts = [part for part in job.needs.values() if part.rule == "shard"]
        ask_for_what_is_gone(job, parts)
        return [f"{RESULTS}/{part.outputs[name]}" for part in parts]

    return paths


def may_need(rule, role, name="record"):
    """The path of what only some jobs of a rule read; nothing for the others."""
    path = need(rule, role, name)

    def maybe(wildcards):
        has = role in PLAN.graph.job(rule, wildcards.items()).needs
        return path(wildcards) if has else []

    return maybe


# what a cell reads: role of the record -> (name of its file's input, the file)
CELL_FILES = {
    "model": ("tensors", "weights"),
    "backbone": ("weights", "weights"),
    "head": ("embeddings", "head"),
    "data": ("images", "images"),
    "surrogate": ("surrogate_tensors", "weights"),
    "surrogate_backbone": ("surrogate_weights", "weights"),
    "surrogate_head": ("surrogate_embeddings", "head"),
    "before": ("before_rows", "rows"),
    "smaller": ("smaller_rows", "rows"),
}


def cell_inputs(rule):
    """The record of everything that a cell reads, and the file beside it; not every cell has every role."""
    found = {}
    for role, (name, file) in CELL_FILES.items():
        found[role] = may_need(rule, role)
        found[name] = ancient(may_need(rule, role, file))
    return found


def records(rule, role):
    """The records of a list of jobs that one of the last jobs reads."""

    def paths(wildcards):
        job = PLAN.graph.job(rule, wildcards.items())
        jobs = PLAN.reads(job).get(role, [])
        ask_for_what_is_gone(job, jobs)
        return [f"{RESULTS}/{other.record}" for other in jobs]

    return paths


def everything():
    """Every file of every job, as targets: Snakemake misses a deleted file only where a target asks for it."""
    return [
        f"{RESULTS}/{path}"
        for job in PLAN.jobs.values()
        for path in job.outputs.values()
    ]


def decoders(wildcards):
    """Threads of a preparation: pictures are decoded side by side, drawn ones are not."""
    return 8 if "source" in PLAN.graph.job("prepare", wildcards.items()).spec else 1


def processes(wildcards):
    """How many processes share one fine-tuning; each has its threads, and its GPU."""
    return PLAN.graph.job("finetune", wildcards.items()).spec["recipe"]["processes"]


def learns(wildcards):
    """Whether a dual encoder's projection is learned, on the device of the config."""
    return "recipe" in PLAN.graph.job("join", wildcards.items()).spec


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

"""zsr: one DAG from raw datasets to the finished report. `snakemake --cores all` makes results/report.html."""

from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/configfile.smk"


# Exactly one config: --configfile replaces the default instead of merging onto it, so nothing leaks from one to another.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/backbones.smk"
include: "workflow/rules/heads.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    check_cluster()
    mark_results()
    hold_results()
    look_when_jobs_end(workflow.scheduler)
    stop_on_ctrl_c(workflow.scheduler)
    warn()


onsuccess:
    release_results()


onerror:
    release_results()


localrules:
    all,


rule all:
    """Every file of the plan. A result that `zsr repair` removed would otherwise never be missed."""
    default_target: True
    input:
        everything(),

# Tables, figures, and the report: light, and always of exactly the cells that the plan lists.
# REQUIRED INPUTS: every cell. OUTPUTS: tables/, figures/, report.html


localrules:
    tables,
    figures,
    report,


rule tables:
    """All cells in tidy tables with intervals, comparisons and alarms."""
    input:
        cells=records("tables", "cells"),
    output:
        cells=report(
            out("tables", "cells"),
            caption="../report/cells.rst",
            category="Tables",
        ),
        sets=report(
            out("tables", "sets"),
            caption="../report/sets.rst",
            category="Tables",
        ),
        methods=report(
            out("tables", "methods"),
            caption="../report/methods.rst",
            category="Tables",
        ),
        paired=report(
            out("tables", "paired"),
            caption="../report/paired.rst",
            category="Tables",
        ),
        fooled=report(
            out("tables", "fooled"),
            caption="../report/fooled.rst",
            category="Tables",
        ),
        training=report(
            out("tables", "training"),
            caption="../report/training.rst",
            category="Tables",
        ),
        alarms=report(
            out("tables", "alarms"),
            caption="../report/alarms.rst",
            category="Tables",
        ),
        record=out("tables", "record"),
    log:
        about("logs", "tables"),
    benchmark:
        about("benchmarks", "tables")
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(2000, 2000),
        runtime=minutes(30, 30),
    params:
        spec=spec_of("tables"),
    shell:
        start("tables")


rule figures:
    """Charts in Vega-Lite."""
    input:
        tables=need("figures", "tables"),
        trained=records("figures", "trained"),
    output:
        charts=report(
            out("figures", "charts"),
            caption="../report/charts.rst",
            category="Figures",
        ),
        record=out("figures", "record"),
    log:
        about("logs", "figures"),
    benchmark:
        about("benchmarks", "figures")
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(2000, 2000),
        runtime=minutes(30, 30),
    params:
        spec=spec_of("figures"),
    shell:
        start("figures", "tables")


rule gallery:
    """Images before and after, for cells drawn by seed among those that keep their adversarial examples."""
    input:
        cells=records("gallery", "cells"),
        needed=records("gallery", "needed"),
    output:
        entries=report(
            out("gallery", "entries"),
            caption="../report/gallery.rst",
            category="Gallery",
        ),
        pictures=out("gallery", "pictures"),
        record=out("gallery", "record"),
    log:
        about("logs", "gallery"),
    benchmark:
        about("benchmarks", "gallery")
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(2000, 8000),
        runtime=minutes(30, 30),
    params:
        spec=spec_of("gallery"),
    shell:
        start("gallery")


rule report:
    """The one page that people read."""
    input:
        tables=need("report", "tables"),
        figures=need("report", "figures"),
        gallery=need("report", "gallery"),
        sheets=records("report", "sheets"),
    output:
        page=report(
            out("report", "page"),
            caption="../report/report.rst",
            category="Report",
        ),
        record=out("report", "record"),
    log:
        about("logs", "report"),
    benchmark:
        about("benchmarks", "report")
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(2000, 2000),
        runtime=minutes(30, 30),
    params:
        spec=spec_of("report"),
    shell:
        start("report", "tables", "figures", "gallery")

# Datasets: decoded or drawn once, as memory-mapped arrays.
# REQUIRED INPUTS: none. OUTPUTS: data/{dataset}/{split}/{transform}/


rule prepare:
    """One split of one dataset, as its reader gives it."""
    output:
        images=out("prepare", "images"),
        labels=out("prepare", "labels"),
        captions=out("prepare", "captions"),
        record=out("prepare", "record"),
    log:
        about("logs", "prepare"),
    benchmark:
        about("benchmarks", "prepare")
    priority: 100
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500, 1500),
        runtime=minutes(30, 30),
    params:
        spec=spec_of("prepare"),
    shell:
        start("prepare")

# Datasets: decoded or drawn once, as memory-mapped arrays.
# REQUIRED INPUTS: none. OUTPUTS: data/{dataset}/{split}/{transform}/


rule prepare:
    """One split of one dataset, at the resolution that is attacked. Its archives are no inputs: any machine can plan."""
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
    threads: decoders
    resources:
        mem_mb=megabytes(1500, 1500),
        runtime=minutes(240, 240),
    params:
        spec=spec_of("prepare"),
    shell:
        f"export ZSR_WORKERS={{threads}}; {start('prepare')}"

# The cells of the table: one model on one dataset under one attack at one ε.
# REQUIRED INPUTS: models, class embeddings, prepared data. OUTPUTS: eval/{protocol}/{model}/{dataset}/{attack}/eps-{eps}


rule evaluate:
    """One row per image, and a summary that describes itself."""
    input:
        **cell_inputs("evaluate"),
    output:
        rows=out("evaluate", "rows"),
        examples=out("evaluate", "examples"),
        record=out("evaluate", "record"),
    log:
        about("logs", "evaluate"),
    benchmark:
        about("benchmarks", "evaluate")
    wildcard_constraints:
        protocol=cells_of("evaluate"),
    priority: 50
    conda:
        "../../envs/evaluate.yaml"
    threads: THREADS
    resources:
        mem_mb=megabytes(2000, 16000),
        runtime=minutes(60, 480),
        gpu=gpus(),
    params:
        spec=spec_of("evaluate"),
    shell:
        start("evaluate", *CELL_FILES)


use rule evaluate as shard with:
    input:
        **cell_inputs("shard"),
    output:
        rows=out("shard", "rows"),
        examples=out("shard", "examples"),
        record=out("shard", "record"),
    log:
        about("logs", "shard"),
    benchmark:
        about("benchmarks", "shard")
    wildcard_constraints:
        protocol=cells_of("shard"),
    params:
        spec=spec_of("shard"),


rule merge:
    """The shards of a cell as one: the same rows and summary that one evaluation makes."""
    input:
        first=need("merge", "shard-0"),
        records=shards("record"),
        rows=ancient(shards("rows")),
        examples=ancient(shards("examples")),
    output:
        rows=out("merge", "rows"),
        examples=out("merge", "examples"),
        record=out("merge", "record"),
    log:
        about("logs", "merge"),
    benchmark:
        about("benchmarks", "merge")
    wildcard_constraints:
        protocol=cells_of("merge"),
    priority: 60
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(1500, 1500),
        runtime=minutes(15, 15),
    params:
        spec=spec_of("merge"),
    shell:
        start("merge", "first")

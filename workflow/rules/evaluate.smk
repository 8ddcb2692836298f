# The cells of the table: one model on one dataset under one attack at one ε.
# REQUIRED INPUTS: models, class embeddings, prepared data. OUTPUTS: eval/{protocol}/{model}/{dataset}/{attack}/eps-{eps}


rule evaluate:
    """One row per image, and a summary that describes itself."""
    input:
        model=need("evaluate", "model"),
        tensors=ancient(need("evaluate", "model", "weights")),
        backbone=need("evaluate", "backbone"),
        weights=ancient(need("evaluate", "backbone", "weights")),
        head=need("evaluate", "head"),
        embeddings=ancient(need("evaluate", "head", "head")),
        data=need("evaluate", "data"),
        images=ancient(need("evaluate", "data", "images")),
        source=may_need("evaluate", "source"),
        source_tensors=ancient(may_need("evaluate", "source", "weights")),
        source_backbone=may_need("evaluate", "source_backbone"),
        source_weights=ancient(may_need("evaluate", "source_backbone", "weights")),
        source_head=may_need("evaluate", "source_head"),
        source_embeddings=ancient(may_need("evaluate", "source_head", "head")),
        before=may_need("evaluate", "before"),
        before_rows=ancient(may_need("evaluate", "before", "rows")),
        smaller=may_need("evaluate", "smaller"),
        smaller_rows=ancient(may_need("evaluate", "smaller", "rows")),
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
        start(
            "evaluate",
            "model",
            "backbone",
            "head",
            "data",
            "source",
            "source_backbone",
            "source_head",
            "before",
            "smaller",
        )


rule shard:
    """A part of the images of a cell that would take too long as one job."""
    input:
        model=need("shard", "model"),
        tensors=ancient(need("shard", "model", "weights")),
        backbone=need("shard", "backbone"),
        weights=ancient(need("shard", "backbone", "weights")),
        head=need("shard", "head"),
        embeddings=ancient(need("shard", "head", "head")),
        data=need("shard", "data"),
        images=ancient(need("shard", "data", "images")),
        source=may_need("shard", "source"),
        source_tensors=ancient(may_need("shard", "source", "weights")),
        source_backbone=may_need("shard", "source_backbone"),
        source_weights=ancient(may_need("shard", "source_backbone", "weights")),
        source_head=may_need("shard", "source_head"),
        source_embeddings=ancient(may_need("shard", "source_head", "head")),
        before=may_need("shard", "before"),
        before_rows=ancient(may_need("shard", "before", "rows")),
        smaller=may_need("shard", "smaller"),
        smaller_rows=ancient(may_need("shard", "smaller", "rows")),
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
    priority: 50
    conda:
        "../../envs/evaluate.yaml"
    threads: THREADS
    resources:
        mem_mb=megabytes(2000, 16000),
        runtime=minutes(60, 480),
        gpu=gpus(),
    params:
        spec=spec_of("shard"),
    shell:
        start(
            "shard",
            "model",
            "backbone",
            "head",
            "data",
            "source",
            "source_backbone",
            "source_head",
            "before",
            "smaller",
        )


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

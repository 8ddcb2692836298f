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
    output:
        rows=out("evaluate", "rows"),
        record=out("evaluate", "record"),
    log:
        about("logs", "evaluate"),
    benchmark:
        about("benchmarks", "evaluate")
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
        start("evaluate", "model", "backbone", "head", "data")

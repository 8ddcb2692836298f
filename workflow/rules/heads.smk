# Class embeddings.
# REQUIRED INPUTS: backbones, models with learned prompts. OUTPUTS: heads/{tower or model}/{dataset}


rule heads:
    """The class embeddings of one dataset, once for all models that share the text tower."""
    input:
        backbone=need("heads", "backbone"),
        weights=ancient(need("heads", "backbone", "weights")),
    output:
        head=out("heads", "head"),
        record=out("heads", "record"),
    log:
        about("logs", "heads"),
    benchmark:
        about("benchmarks", "heads")
    wildcard_constraints:
        tower=r"[^/.]+",
    priority: 80
    conda:
        "../../envs/evaluate.yaml"
    threads: THREADS
    resources:
        mem_mb=megabytes(1500, 8000),
        runtime=minutes(15, 15),
        gpu=gpus(),
    params:
        spec=spec_of("heads"),
    shell:
        start("heads", "backbone")


rule texts:
    """The class embeddings of one dataset with the prompts that one model learned."""
    input:
        model=need("texts", "model"),
        tensors=ancient(need("texts", "model", "weights")),
        backbone=need("texts", "backbone"),
        weights=ancient(need("texts", "backbone", "weights")),
    output:
        head=out("texts", "head"),
        record=out("texts", "record"),
    log:
        about("logs", "texts"),
    benchmark:
        about("benchmarks", "texts")
    wildcard_constraints:
        model=r"[^/]+\.s\d+",
    priority: 60
    conda:
        "../../envs/evaluate.yaml"
    threads: THREADS
    resources:
        mem_mb=megabytes(1500, 8000),
        runtime=minutes(15, 15),
        gpu=gpus(),
    params:
        spec=spec_of("texts"),
    shell:
        start("texts", "model", "backbone")

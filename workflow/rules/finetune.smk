# Backbones, class embeddings, and fine-tuned models.
# REQUIRED INPUTS: prepared data. OUTPUTS: backbones/{backbone}/, heads/{tower}/{dataset}, models/{model}/


localrules:
    adopt,


rule pretrain:
    """A small CLIP on drawn images and captions: the stand-in for weights that cannot be downloaded."""
    input:
        data=need("pretrain", "data"),
        images=ancient(need("pretrain", "data", "images")),
        captions=ancient(need("pretrain", "data", "captions")),
    output:
        weights=out("pretrain", "weights"),
        log=out("pretrain", "log"),
        record=out("pretrain", "record"),
    log:
        about("logs", "pretrain"),
    benchmark:
        about("benchmarks", "pretrain")
    priority: 90
    conda:
        "../../envs/train.yaml"
    threads: THREADS
    resources:
        mem_mb=megabytes(3000, 16000),
        runtime=minutes(60, 60),
        gpu=gpus(),
    params:
        spec=spec_of("pretrain"),
    shell:
        start("pretrain", "data")


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


rule finetune:
    """One model: a method on a backbone, with one seed."""
    input:
        backbone=need("finetune", "backbone"),
        weights=ancient(need("finetune", "backbone", "weights")),
        data=need("finetune", "data"),
        images=ancient(need("finetune", "data", "images")),
        head=need("finetune", "head"),
        embeddings=ancient(need("finetune", "head", "head")),
    output:
        weights=out("finetune", "weights"),
        log=out("finetune", "log"),
        record=out("finetune", "record"),
    log:
        about("logs", "finetune"),
    benchmark:
        about("benchmarks", "finetune")
    wildcard_constraints:
        model=r"[^/]+\.s\d+",
    priority: 70
    conda:
        "../../envs/train.yaml"
    threads: THREADS
    resources:
        mem_mb=megabytes(3000, 32000),
        runtime=minutes(60, 1440),
        gpu=gpus(),
    params:
        spec=spec_of("finetune"),
    shell:
        start("finetune", "backbone", "data", "head")


rule adopt:
    """A model whose method does not train: its backbone under the method's name."""
    input:
        backbone=need("adopt", "backbone"),
    output:
        weights=out("adopt", "weights"),
        log=out("adopt", "log"),
        record=out("adopt", "record"),
    log:
        about("logs", "adopt"),
    benchmark:
        about("benchmarks", "adopt")
    wildcard_constraints:
        model=r"[^/.]+\.[^/.]+",
    priority: 70
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(500, 500),
        runtime=minutes(5, 5),
    params:
        spec=spec_of("adopt"),
    shell:
        start("adopt", "backbone")

# Models: fine-tuned, the backbone itself, published, between two others.
# REQUIRED INPUTS: prepared data, backbones, heads. OUTPUTS: models/{model}/


localrules:
    adopt,
    interpolate,


rule finetune:
    """One model: a method on a backbone, with one seed."""
    input:
        backbone=need("finetune", "backbone"),
        weights=ancient(need("finetune", "backbone", "weights")),
        data=need("finetune", "data"),
        images=ancient(need("finetune", "data", "images")),
        head=may_need("finetune", "head"),
        embeddings=ancient(may_need("finetune", "head", "head")),
        teacher=may_need("finetune", "teacher"),
        taught=ancient(may_need("finetune", "teacher", "weights")),
    output:
        weights=out("finetune", "weights"),
        log=out("finetune", "log"),
        record=out("finetune", "record"),
    log:
        about("logs", "finetune"),
    benchmark:
        about("benchmarks", "finetune")
    wildcard_constraints:
        model=r"[^/.]+\.[^/.]+\.s\d+",
    priority: 70
    conda:
        "../../envs/train.yaml"
    threads: lambda wildcards: THREADS * processes(wildcards)
    resources:
        mem_mb=megabytes(3000, 32000),
        runtime=minutes(60, 1440),
        gpu=lambda wildcards: gpus() * processes(wildcards),
    params:
        spec=spec_of("finetune"),
    shell:
        start("finetune", "backbone", "data", "head", "teacher")


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
        model=named("adopt", "model"),
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


rule publish:
    """A model whose weights others published: an image tower over its backbone."""
    input:
        weights=ancient(local_file("publish")),
        backbone=need("publish", "backbone"),
        tensors=ancient(need("publish", "backbone", "weights")),
    output:
        weights=out("publish", "weights"),
        log=out("publish", "log"),
        record=out("publish", "record"),
    log:
        about("logs", "publish"),
    benchmark:
        about("benchmarks", "publish")
    wildcard_constraints:
        model=named("publish", "model"),
    priority: 70
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(8000, 8000),
        runtime=minutes(120, 120),
    params:
        spec=spec_of("publish"),
    shell:
        start("publish", "weights", "backbone")


rule interpolate:
    """A model between two others: a weighted mean of their tensors."""
    input:
        backbone=need("interpolate", "backbone"),
        weights=ancient(need("interpolate", "backbone", "weights")),
        start=need("interpolate", "start"),
        tensors=ancient(need("interpolate", "start", "weights")),
        end=need("interpolate", "end"),
        others=ancient(need("interpolate", "end", "weights")),
    output:
        weights=out("interpolate", "weights"),
        log=out("interpolate", "log"),
        record=out("interpolate", "record"),
    log:
        about("logs", "interpolate"),
    benchmark:
        about("benchmarks", "interpolate")
    wildcard_constraints:
        model=r"[^/.]+\.[^/.]+\.a\d+(\.s\d+)?",
    priority: 70
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(4000, 4000),
        runtime=minutes(5, 5),
    params:
        spec=spec_of("interpolate"),
    shell:
        start("interpolate", "backbone", "start", "end")

# Backbones, class embeddings, and fine-tuned models.
# REQUIRED INPUTS: prepared data. OUTPUTS: backbones/{backbone}/, heads/{tower or model}/{dataset}, models/{model}/


localrules:
    adopt,
    interpolate,
    promote,


rule pretrain:
    """A small CLIP on images and captions, with a teacher or without: the stand-in for weights from elsewhere."""
    input:
        data=need("pretrain", "data"),
        images=ancient(need("pretrain", "data", "images")),
        captions=ancient(need("pretrain", "data", "captions")),
        teacher=may_need("pretrain", "teacher"),
        taught=ancient(may_need("pretrain", "teacher", "weights")),
    output:
        weights=out("pretrain", "weights"),
        log=out("pretrain", "log"),
        record=out("pretrain", "record"),
    log:
        about("logs", "pretrain"),
    benchmark:
        about("benchmarks", "pretrain")
    wildcard_constraints:
        backbone=named("pretrain", "backbone"),
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
        start("pretrain", "data", "teacher")


rule fetch:
    """A published CLIP, from open_clip's list, the hub or a local file, checked and converted once."""
    input:
        weights=ancient(local_file("fetch")),
    output:
        weights=out("fetch", "weights"),
        record=out("fetch", "record"),
    log:
        about("logs", "fetch"),
    benchmark:
        about("benchmarks", "fetch")
    wildcard_constraints:
        backbone=named("fetch", "backbone"),
    priority: 95
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(8000, 8000),
        runtime=minutes(120, 120),
    params:
        spec=spec_of("fetch"),
    shell:
        start("fetch", "weights")


rule join:
    """A dual encoder from an image tower, sentence vectors and a projection, which is learned where none is given."""
    input:
        image=ancient(local_file("join", "image")),
        text=ancient(local_file("join", "text")),
        projection=ancient(local_file("join", "projection")),
        data=may_need("join", "data"),
        images=ancient(may_need("join", "data", "images")),
        captions=ancient(may_need("join", "data", "captions")),
    output:
        weights=out("join", "weights"),
        log=out("join", "log"),
        record=out("join", "record"),
    log:
        about("logs", "join"),
    benchmark:
        about("benchmarks", "join")
    wildcard_constraints:
        backbone=named("join", "backbone"),
    priority: 95
    conda:
        "../../envs/train.yaml"
    threads: THREADS
    resources:
        mem_mb=megabytes(4000, 16000),
        runtime=minutes(60, 60),
        gpu=lambda wildcards: gpus() if learns(wildcards) else 0,
    params:
        spec=spec_of("join"),
    shell:
        start("join", "image", "text", "projection", "data")


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


rule promote:
    """The backbone of models that start from another model: its tower in the original's place."""
    input:
        backbone=need("promote", "backbone"),
        weights=ancient(need("promote", "backbone", "weights")),
        model=need("promote", "model"),
        tensors=ancient(need("promote", "model", "weights")),
    output:
        weights=out("promote", "weights"),
        record=out("promote", "record"),
    log:
        about("logs", "promote"),
    benchmark:
        about("benchmarks", "promote")
    wildcard_constraints:
        tower=named("promote", "tower"),
    priority: 70
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(4000, 4000),
        runtime=minutes(5, 5),
    params:
        spec=spec_of("promote"),
    shell:
        start("promote", "backbone", "model")


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

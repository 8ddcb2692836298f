# What models start from: a CLIP that is pretrained, fetched, joined from parts, or another model's tower in its place.
# REQUIRED INPUTS: prepared data, weights. OUTPUTS: backbones/{backbone or model}/


localrules:
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

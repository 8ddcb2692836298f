"""Evaluates one cell, or one shard of its images: a row for each image, and a summary."""

import time

import torch
from safetensors.torch import load_file
from torch import nn

from zsr.data import prepared
from zsr.epsilon import eps_of
from zsr.evaluation import cell as evaluate
from zsr.evaluation import chaining
from zsr.jobs.cost import START, peak_megabytes
from zsr.jobs.run import JobRun, run
from zsr.methods.core.loading import load_trained
from zsr.models.backbone import Backbone
from zsr.storage.examples import write_examples
from zsr.storage.rows import write_rows


def work(job: JobRun) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    backbone, net = attacked(job, "backbone", "model", "head")
    surrogate = None
    if "surrogate" in spec["needs"]:
        base = "surrogate_backbone" if "surrogate_backbone" in spec["needs"] else "backbone"
        surrogate = attacked(job, base, "surrogate", "surrogate_head")[1]
    classes = len(job.record("head")["spec"]["classes"])
    images, labels = prepared.read(job.path("data", "images"), job.record("data"), classes)
    started = time.time()
    eps = float(eps_of(spec["eps"], "eps", spec["norm"]))
    fooled = chaining.fooled_before(job, evaluate.indices(len(labels), spec))
    cell = evaluate.evaluate(net, backbone.mean, backbone.std, images, labels, spec, eps, fooled["index"], surrogate)
    columns = chaining.merge(evaluate.columns(cell), fooled)
    write_rows(job.outputs["rows"], columns)
    places, examples = evaluate.kept(cell, spec)
    write_examples(job.outputs["examples"], places, images, examples, radius=eps if spec["norm"] == "linf" else 0.0)
    seconds = time.time() - started
    job.facts |= {
        "n": len(columns["index"]),
        "attacked": len(cell.index),
        "examples": len(places),
        "clean_correct": int((columns["clean"] == columns["label"]).sum()),
        "robust_correct": int(columns["robust"].sum()),
        "passes": {"forward": cell.verdicts.passes.forward, "backward": cell.verdicts.passes.backward},
        "notes": list(cell.verdicts.notes),
        "signs": cell.verdicts.signs,
        "unconfirmed": cell.verdicts.unconfirmed,
        "weights": job.digest("model", "weights"),
        "head": job.digest("head", "head"),
        "start_seconds": round(started - START, 3),
        "attack_seconds": round(seconds, 3),
        "images_per_second": round(len(cell.index) / max(seconds, 1e-9), 2),
        "peak_megabytes": peak_megabytes(spec["device"]),
    }


def attacked(job: JobRun, base: str, model: str, texts: str) -> tuple[Backbone, nn.Module]:
    """The backbone, and the network that is attacked: a model with the class embeddings that it is evaluated with."""
    backbone, method = load_trained(job.weights(base), job.record(base), job.weights(model), job.record(model))
    return backbone, evaluate.network(backbone, method, load_file(job.embeddings(texts))["head"])


if __name__ == "__main__":
    run(work)

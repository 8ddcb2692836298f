"""Evaluate one cell: rows per image, and a summary that describes itself."""

import time

import torch
from safetensors.torch import load_file

from zsr import arrays, evaluate, registry
from zsr.cost import peak_megabytes
from zsr.epsilon import eps_of
from zsr.job import START, Job, run
from zsr.models.backbone import load_model
from zsr.rows import write_rows


def work(job: Job) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    model_record = job.record("model")
    method = registry.load("methods", spec["method"])(**model_record["spec"]["settings"])
    backbone = load_model(
        job.input("backbone").with_name("weights.safetensors"),
        job.record("backbone"),
        job.input("model").with_name("weights.safetensors"),
        model_record,
        method.wrap,
    )
    head_record = job.record("head")
    head = load_file(job.input("head").with_suffix(".safetensors"))["head"]
    images, labels = arrays.read(job.input("data").with_name("images.npy"), job.record("data"), len(head))
    net = evaluate.ZeroShot(backbone.visual.eval(), method.head(backbone.visual, head), backbone.logit_scale)
    started = time.time()
    cell = evaluate.evaluate(net, backbone.mean, backbone.std, images, labels, spec, float(eps_of(spec["eps"], "eps")))
    columns = evaluate.columns(cell)
    write_rows(job.outputs["rows"], columns)
    seconds = time.time() - started
    job.facts |= {
        "n": len(cell.index),
        "clean_correct": int((columns["clean"] == columns["label"]).sum()),
        "robust_correct": int(columns["robust"].sum()),
        "passes": {"forward": cell.verdicts.passes.forward, "backward": cell.verdicts.passes.backward},
        "notes": list(cell.verdicts.notes),
        "weights": model_record["digests"]["weights"],
        "head": head_record["digests"]["head"],
        "start_seconds": round(started - START, 3),
        "attack_seconds": round(seconds, 3),
        "images_per_second": round(len(cell.index) / max(seconds, 1e-9), 2),
        "peak_megabytes": peak_megabytes(spec["device"]),
    }


if __name__ == "__main__":
    run(work)

"""Encode the class prompts of one dataset with the vectors that a model learned: its classifier, and no other's."""

import torch
from safetensors.torch import save_file

from zsr.evaluation.class_embeddings import check_distinct, nearest_cosine
from zsr.jobs.run import JobRun, run
from zsr.methods.core.loading import load_trained


def work(job: JobRun) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    backbone, method = load_trained(
        job.weights("backbone"), job.record("backbone"), job.weights("model"), job.record("model")
    )
    head = method.embeddings(backbone.visual, backbone.text, spec["classes"], spec["templates"]).cpu()  # [C, D]
    check_distinct(head, spec["classes"])
    save_file({"head": head.contiguous()}, job.outputs["head"])
    job.facts |= {"classes": len(head), "nearest_cosine": nearest_cosine(head)}


if __name__ == "__main__":
    run(work)

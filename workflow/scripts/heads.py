"""Encode the class prompts of one dataset: the classifier that zero-shot evaluation uses."""

import torch
from safetensors.torch import save_file

from zsr.evaluation.class_embeddings import class_embeddings, nearest_cosine
from zsr.jobs.run import JobRun, run
from zsr.models.backbone import load_backbone


def work(job: JobRun) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    backbone = load_backbone(job.weights("backbone"), job.record("backbone"))
    head = class_embeddings(backbone, spec["classes"], spec["templates"])  # [C, D]
    save_file({"head": head.contiguous()}, job.outputs["head"])
    job.facts |= {"classes": len(head), "nearest_cosine": nearest_cosine(head)}


if __name__ == "__main__":
    run(work)

"""Encode the class prompts of one dataset: the classifier that zero-shot evaluation uses."""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from zsr.job import Job, run
from zsr.models.backbone import load_backbone
from zsr.prompts import class_embeddings


def work(job: Job) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    backbone = load_backbone(job.input("backbone").with_name("weights.safetensors"), job.record("backbone"))
    head = class_embeddings(backbone, spec["classes"], spec["templates"])  # [C, D]
    nearest = (
        (F.normalize(head, dim=1) @ F.normalize(head, dim=1).T).fill_diagonal_(-1).max().item()
        if len(head) > 1
        else 0.0
    )
    save_file({"head": head.contiguous()}, job.outputs["head"])
    job.facts |= {"classes": len(head), "nearest_cosine": round(nearest, 4)}


if __name__ == "__main__":
    run(work)

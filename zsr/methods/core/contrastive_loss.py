"""CLIP's own loss inside a batch: each image against the texts of the batch, each text against its images."""

import torch
import torch.nn.functional as F
from torch import Tensor


def symmetric(logits: Tensor, labels: Tensor) -> Tensor:
    """½·CE over rows + ½·CE over columns of z [B, B], where z_ij = s·cos(f_i, t_{y_j}) and the diagonal is right.

    `logits` [B, C] are those of all classes. Two images of one class make each other's text a false negative, as in
    CLIP's pre-training and in the authors' script; with few classes and a large batch that is most of the batch.
    """
    pairs = logits[:, labels]  # [B, B]
    own = torch.arange(len(labels), device=labels.device)
    return (F.cross_entropy(pairs, own) + F.cross_entropy(pairs.T, own)) / 2

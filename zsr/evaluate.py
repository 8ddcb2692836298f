"""One cell of the table: a model's verdicts on the images of one dataset under one attack at one ε."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.attacks import Normalized, Verdicts, attack
from zsr.errors import ZsrError


class ZeroShot(nn.Module):
    """Normalised images -> logits s·cos(f(x), t_c): what is attacked. The class embeddings are constants."""

    def __init__(self, visual: nn.Module, head: Tensor, scale: float) -> None:
        super().__init__()
        self.visual = visual
        self.scale = scale
        self.register_buffer("head", F.normalize(head, dim=1))  # [C, D]

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.normalize(self.visual(x), dim=1) @ self.head.T  # [B, C]


@dataclass
class Cell:
    """The verdicts, and the images that they are about."""

    index: np.ndarray  # [n] places in the prepared split
    labels: np.ndarray  # [n]
    verdicts: Verdicts


def choose(total: int, count: int, seed: int) -> np.ndarray:
    """`count` of `total` images, drawn by seed, in the order of the split; the same for every model and attack."""
    if count > total:
        raise ZsrError(f"{count} images are asked for, the split has {total}")
    return np.sort(np.random.default_rng([seed, 11]).permutation(total)[:count])


def evaluate(
    net: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    images: np.ndarray,
    labels: np.ndarray,
    spec: dict,
    eps: float,
) -> Cell:
    """Attack the images that the spec names; `images` [N, 3, H, W] uint8 may be memory-mapped."""
    index = choose(len(labels), spec["images"], spec["seed"])
    model = Normalized(net, mean, std).to(spec["device"]).eval()
    verdicts = attack(
        model,
        torch.from_numpy(np.ascontiguousarray(images[index])),  # uint8 on the CPU: slots move over as they fill
        torch.from_numpy(labels[index]),
        spec["attack"],
        norm=spec["norm"],
        eps=eps,
        seed=spec["seed"],
        batch_size=spec["batch"],
        index=torch.from_numpy(index),
        verdict=spec["verdict"],
        kernels=spec["kernels"],
        precision=spec["precision"],
        keep_images=False,
        device=spec["device"],
        **spec["settings"],
    )
    return Cell(index, labels[index], verdicts)


def columns(cell: Cell) -> dict[str, np.ndarray]:
    """The cell's rows, one per image."""
    v = cell.verdicts
    return {
        "index": cell.index.astype(np.int32),
        "label": cell.labels.astype(np.int32),
        "clean": v.clean.cpu().numpy().astype(np.int32),
        "adversarial": v.prediction.cpu().numpy().astype(np.int32),
        "clean_margin": v.clean_margin.cpu().numpy().astype(np.float32),
        "margin": v.margin.cpu().numpy().astype(np.float32),
        "step": v.step.cpu().numpy().astype(np.int32),
        "distance": v.distance.cpu().numpy().astype(np.float32),
        "robust": v.robust.cpu().numpy().astype(bool),
        "felled_by": np.asarray(list(v.attack), dtype=object),
    }

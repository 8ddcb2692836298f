"""One cell of the table: a model's verdicts on the images of one dataset under one attack at one ε."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.attacks import Normalized, Verdicts, attack
from zsr.errors import ZsrError

if TYPE_CHECKING:
    from zsr.methods.core.base import Method
    from zsr.models.backbone import Backbone


class ZeroShot(nn.Module):
    """Normalised images -> logits s·cos(f(x), t_c): what is attacked. The class embeddings are constants."""

    head: Tensor  # [C, D]

    def __init__(self, visual: nn.Module, head: Tensor, scale: float) -> None:
        super().__init__()
        self.visual = visual
        self.scale = scale
        self.register_buffer("head", F.normalize(head, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.normalize(self.visual(x), dim=1) @ self.head.T  # [B, C]


def network(backbone: "Backbone", method: "Method", head: Tensor) -> nn.Module:
    """Normalised images -> logits, as a model is attacked; one that is not zero-shot gives the logits itself."""
    if not method.zero_shot:
        return backbone.visual
    return ZeroShot(backbone.visual, method.head(backbone.visual, head), backbone.logit_scale)


@dataclass
class Cell:
    """The verdicts, with the images' indices and labels."""

    index: np.ndarray  # [n] of the prepared split
    labels: np.ndarray  # [n]
    verdicts: Verdicts


def choose(total: int, count: int, seed: int) -> np.ndarray:
    """`count` of `total` images, drawn by seed, in the order of the split; the same for every model and attack."""
    if count > total:
        raise ZsrError(f"{count} images are asked for, the split has {total}")
    return np.sort(np.random.default_rng([seed, 11]).permutation(total)[:count])


def shard_of(index: np.ndarray, number: int, count: int) -> np.ndarray:
    """One of `count` consecutive parts of nearly equal size; together they are all images, in their order."""
    return np.array_split(index, count)[number]


def indices(total: int, spec: dict) -> np.ndarray:
    """The images of a cell, or of one of its shards."""
    index = choose(total, spec["images"], spec["seed"])
    return shard_of(index, *spec["shard"]) if "shard" in spec else index


def evaluate(
    net: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    images: np.ndarray,
    labels: np.ndarray,
    spec: dict,
    eps: float,
    skip: np.ndarray | None = None,
    surrogate: nn.Module | None = None,
) -> Cell:
    """Attack the images that the spec names; `images` [N, 3, H, W] uint8 may be memory-mapped.

    `skip`: images that are left out, since an earlier cell has their verdicts. Random numbers are keyed by image index,
    so skipping images does not change the others. `surrogate`: the network on which `transfer` makes its examples, with
    the same normalisation.
    """
    index = indices(len(labels), spec)
    if skip is not None:
        index = np.setdiff1d(index, skip, assume_unique=True)
    model = Normalized(net, mean, std).to(spec["device"]).eval()
    made_on = {} if surrogate is None else {"surrogate": Normalized(surrogate, mean, std).to(spec["device"]).eval()}
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
        keep_images=spec["store"] != "none",
        shapes="fixed" if "shard" in spec else "auto",  # a verdict must not depend on how many shards there are
        device=spec["device"],
        **spec["settings"],
        **made_on,
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
        "fooled_by": np.asarray(list(v.attack), dtype=object),
        "fooled_in": np.full(len(cell.index), "", dtype=object),
    }


def some(total: int, store: int | str, seed: int) -> np.ndarray:
    """Which of a cell's examples are stored: all, or as many as `store` says, drawn by seed, in their order."""
    count = store if isinstance(store, int) else total
    return np.sort(np.random.default_rng([seed, 23]).permutation(total)[:count])


def kept(cell: Cell, spec: dict) -> tuple[np.ndarray, np.ndarray]:
    """Indices and examples [n, 3, H, W] that are stored: all images that the attack fooled, or as many as `store`."""
    v = cell.verdicts
    if spec["store"] == "none" or v.x_adv is None:
        return np.empty(0, np.int64), np.empty((0, 3, 0, 0), np.float32)
    fooled = np.flatnonzero((v.step > 0).cpu().numpy())
    fooled = fooled[some(len(fooled), spec["store"], spec["seed"])]
    return cell.index[fooled], v.x_adv[torch.from_numpy(fooled).to(v.x_adv.device)].cpu().numpy()

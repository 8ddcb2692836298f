"""Checks stored adversarial examples and clean predictions of a cell, by code that no attack shares.

Normalisation, logits, ball and box are written out here; nothing of zsr.attacks or zsr_kernels is imported, unless the
model is one whose method builds a part of the network (prompts), which lies in that method's file. A network is loaded
once for each pair of model and dataset.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from zsr import registry
from zsr.models.backbone import load_model
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.examples import Examples
from zsr.storage.records import check_digest, read_record

if TYPE_CHECKING:
    from zsr.methods.core.base import Method

CLOSE = 1e-4  # two correct forwards may disagree about a margin smaller than this
ROUNDING = 1e-6  # x0 ± ε itself rounds
BATCH = 256
Logits = Callable[[np.ndarray], np.ndarray]  # float32 images [n, 3, H, W] in [0, 1] -> logits [n, C]


@dataclass
class CellFinding:
    """What checking one cell brought."""

    examples: int = 0  # that are stored

    confirmed: int = 0  # of the examples, those that fool by more than CLOSE
    close: int = 0  # examples and clean predictions whose margin decides nothing
    clean: int = 0  # clean predictions that agree
    faults: list[str] = field(default_factory=list)


class Network:
    """Images in [0, 1] -> logits in float32, from the files that a cell was made of."""

    def __init__(self, plan: Plan, cell: PlannedJob) -> None:
        def record(role: str) -> dict:
            return read_record(plan.results / cell.needs[role].record, cell.needs[role].hash)

        def path(role: str, name: str) -> Path:
            return plan.results / cell.needs[role].outputs[name]

        model = record("model")
        method = _method(cell.spec["method"], model["spec"]["settings"])
        backbone = load_model(
            path("backbone", "weights"), record("backbone"), path("model", "weights"), model,
            method.wrap if method else lambda visual: visual, with_text=bool(method and method.trains_text),
        )  # fmt: skip
        head = load_file(check_digest(path("head", "head"), record("head")["digests"]["head"]))["head"]
        self.device = torch.device(cell.spec["device"])
        self.visual = backbone.visual.eval().to(self.device)
        self.reads_out = bool(method and not method.zero_shot)  # the tower ends in logits of its own
        head = method.head(self.visual, head) if method else head
        self.head = (head / head.norm(dim=1, keepdim=True)).to(self.device)
        self.scale = backbone.logit_scale
        self.mean = torch.tensor(backbone.mean, device=self.device)[:, None, None]
        self.std = torch.tensor(backbone.std, device=self.device)[:, None, None]

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        rows = [self._logits(torch.from_numpy(images[at : at + BATCH])) for at in range(0, len(images), BATCH)]
        return torch.cat(rows).numpy() if rows else np.empty((0, len(self.head)), np.float32)

    def _logits(self, x: Tensor) -> Tensor:
        features = self.visual((x.to(self.device) - self.mean) / self.std)
        if self.reads_out:
            return features.float().cpu()
        features = features / features.norm(dim=1, keepdim=True)
        return (self.scale * features @ self.head.T).float().cpu()


def _method(name: str, settings: dict) -> "Method | None":
    """The method, if evaluation needs it: one that has a network part or class embeddings of its own."""
    if not any(registry.overrides("methods", name, function) for function in ("wrap", "head")):
        return None
    return registry.load("methods", name)(**settings)


def rescore_cell(
    rows: dict[str, np.ndarray], stored: np.ndarray, parts: Iterable[Examples], images: np.ndarray, labels: np.ndarray,
    spec: dict, eps: float, logits: Logits, clean: np.ndarray,
) -> CellFinding:  # fmt: skip
    """Check one cell: `rows` as its parquet has them, `clean` the logits of images[rows["index"]].

    `stored` are the image indices of the stored examples, which come in `parts`.
    """
    finding = CellFinding(examples=len(stored))
    index, label = rows["index"], rows["label"]
    if not np.array_equal(labels[index], label):
        finding.faults.append("its rows have other labels than the dataset")
        return finding
    _check_clean(rows, clean, finding)
    fooled = index[(rows["step"] > 0) & (rows["fooled_in"] == "")]
    wanted = {"none": 0, "examples": len(fooled)}.get(spec["store"], spec["store"])
    if len(stored) != min(wanted, len(fooled)) or not np.isin(stored, fooled).all():
        finding.faults.append(
            f"{len(stored)} examples are stored where {len(fooled)} images fell and the config says "
            f"store: {spec['store']}"
        )
        return finding
    for part in parts:
        _check_examples(part, rows, images[part.index], spec["norm"], eps, logits, finding)
    return finding


def _check_examples(
    examples: Examples, rows: dict[str, np.ndarray], images: np.ndarray, norm: str, eps: float, logits: Logits,
    finding: CellFinding,
) -> None:  # fmt: skip
    """Check some of the examples; `images` are those that they were made of."""
    row = np.searchsorted(rows["index"], examples.index)
    distance = distances(examples.x_adv, images, norm)
    slack = ROUNDING * max(1.0, eps)
    outside = ~(distance <= eps + slack)
    outside |= ~((examples.x_adv >= 0) & (examples.x_adv <= 1)).all(axis=(1, 2, 3))
    for k in np.flatnonzero(outside):
        finding.faults.append(f"the example of image {examples.index[k]} lies outside ball or box ({distance[k]:.6g})")
    for k in np.flatnonzero(np.abs(distance - rows["distance"][row]) > slack):
        finding.faults.append(f"the example of image {examples.index[k]} is not the one whose distance its row states")
    margin = margins(logits(examples.x_adv), rows["label"][row])
    finding.close += int((np.abs(margin) < CLOSE).sum())
    finding.confirmed += int((margin <= -CLOSE).sum())
    for k in np.flatnonzero(~(margin < CLOSE)):
        finding.faults.append(f"the example of image {examples.index[k]} fools nobody (margin {margin[k]:.6g})")


def _check_clean(rows: dict[str, np.ndarray], logits: np.ndarray, finding: CellFinding) -> None:
    """Check the clean predictions, and that the verdicts of the rows go together."""
    top = np.sort(logits, axis=1)[:, -2:]
    close = ~(top[:, 1] - top[:, 0] >= CLOSE)
    agrees = logits.argmax(1) == rows["clean"]
    finding.clean, finding.close = int((agrees & ~close).sum()), int(close.sum())
    for k in np.flatnonzero(~agrees & ~close):
        finding.faults.append(
            f"image {rows['index'][k]} is predicted as class {logits[k].argmax()}, its row says {rows['clean'][k]}"
        )
    right = rows["clean"] == rows["label"]
    if wrong := int((rows["robust"] & ~right).sum()):
        finding.faults.append(f"{wrong} images count as robust though their clean prediction is wrong")
    if wrong := int((rows["robust"] != (rows["step"] < 0)).sum()):
        finding.faults.append(f"{wrong} images count as robust and as fooled at once")


def distances(x_adv: np.ndarray, images: np.ndarray, norm: str) -> np.ndarray:
    """||x_adv - x|| of each image, in float64 but for the one rounding of x / 255 that the network sees, [n]."""
    x0 = images.astype(np.float32) / np.float32(255)
    delta = np.abs(x_adv.astype(np.float64) - x0.astype(np.float64)).reshape(len(x_adv), math.prod(x_adv.shape[1:]))
    if norm == "linf":
        return delta.max(axis=1, initial=0.0)
    return np.sqrt((delta**2).sum(axis=1)) if norm == "l2" else delta.sum(axis=1)


def margins(logits: np.ndarray, label: np.ndarray) -> np.ndarray:
    """z_y - max_{j != y} z_j, [n]: negative where the prediction is wrong; NaN stays NaN and confirms nothing."""
    own = logits[np.arange(len(label)), label]
    others = logits.copy()
    others[np.arange(len(label)), label] = -np.inf
    return own - others.max(axis=1, initial=-np.inf)

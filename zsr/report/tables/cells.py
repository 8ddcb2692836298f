"""Evaluation cells in memory: what each summary says, checked against its rows, and the union over attacks.

A cell keeps one bool per image and verdict; index and label arrays are shared between cells of the same images, so that
paper-size results (1,440 cells of 10,000 images) need some hundred MB and not ten GB.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from zsr.errors import ZsrError
from zsr.report.eps_order import value
from zsr.report.headline import UNION
from zsr.report.tables.keys import Condition, Labels, ModelKey, Row

NEAR = 1e-4  # margins closer to zero than this may flip between two correct forward passes
BALL = 1e-6  # x0 ± ε itself rounds


@dataclass(frozen=True)
class Cell:
    """One cell: one model, one dataset, one attack, one ε."""

    protocol: str
    backbone: str
    name: str  # the model as the config names it, equal for all of its seeds
    id: str
    method: str
    train_eps: str
    seed: int
    dataset: str
    is_source: bool
    shares_words: bool
    chance: float
    classes: int
    attack: str  # its label: unique for one setting of one attack within a protocol
    attack_name: str
    threat: str
    eps: str
    index: np.ndarray = field(repr=False)  # [n] int64, sorted
    label: np.ndarray = field(repr=False)  # [n]
    right: np.ndarray = field(repr=False)  # [n] bool, correct on the clean image
    robust: np.ndarray = field(repr=False)  # [n] bool, correct under attack
    step: np.ndarray = field(repr=False)  # [n] int32, as in zsr.attacks.Verdicts; empty for a union
    steps: int = 0  # the budget of an attack that is one run of steps, else 0
    seconds: float = 0.0
    zero_shot: bool = True  # False: a read-out that was trained on these very classes
    forward: int = 0
    backward: int = 0
    spec_hash: str = ""
    follows: str = ""  # the cells whose fallen images were not attacked again
    signs: dict = field(default_factory=dict, repr=False)  # as `zsr.attacks.core.gradient_signs` counts them
    unconfirmed: int = 0  # images fooled in the attack's precision and not in float32
    worst_case: bool = False  # whether the protocol asks for the union over its attacks
    faults: tuple[str, ...] = ()  # where rows contradict the summary or themselves

    @property
    def model(self) -> ModelKey:
        """What one line of the report is about: a model with all of its seeds."""
        return ModelKey(self.protocol, self.backbone, self.name, self.train_eps)

    @property
    def condition(self) -> Condition:
        """The attack and ε of the cell in its protocol."""
        return Condition(self.protocol, self.attack, self.eps)

    def row(self, labels: Labels) -> Row:
        """The line of the report that the cell belongs to."""
        return Row(self.protocol, self.backbone, labels[self.model], self.attack, self.eps)

    def correct(self, quantity: str) -> np.ndarray:
        """[n] bool, whether the model is right: on clean images ('clean') or under attack ('robust')."""
        return self.right if quantity == "clean" else self.robust

    @property
    def union(self) -> bool:
        """True for the per-image union over attacks."""
        return self.attack_name == "union"


def read_cells(summaries: Iterable[dict], rows: Callable[[dict], pd.DataFrame]) -> list[Cell]:
    """All cells, in the order given, each read once; `rows` gives the rows of a summary's cell."""
    arrays: dict[bytes, np.ndarray] = {}
    return [_read_cell(summary, rows(summary), arrays) for summary in summaries]


def _read_cell(cell: dict, frame: pd.DataFrame, arrays: dict[bytes, np.ndarray]) -> Cell:
    try:
        model, data, attack = cell["model"], cell["dataset"], cell["attack"]
        known = {
            "protocol": str(cell["protocol"]),
            "backbone": str(model["backbone"]),
            "name": str(model["name"]),
            "id": str(model["id"]),
            "method": str(model["method"]),
            "train_eps": "" if model["train_eps"] is None else str(model["train_eps"]),
            "zero_shot": bool(model.get("zero_shot", True)),
            "seed": int(model["seed"] or 0),  # a model that was not trained has none
            "dataset": str(data["name"]),
            "is_source": bool(data["is_source"]),
            "shares_words": bool(data["shares_words"]),
            "classes": int(data["classes"]),
            "chance": float(data.get("chance") or 1 / int(data["classes"])),
            "attack": str(attack.get("label") or attack["name"]),
            "attack_name": str(attack["name"]),
            "threat": str(cell["threat"]),
            "eps": str(cell["eps"]),
            "steps": _budget(cell),
            "follows": str(cell["follows"]),
            "worst_case": bool(cell["worst_case"]),
            "signs": cell["signs"],
            "unconfirmed": int(cell["unconfirmed"]),
            "seconds": float(cell["seconds"]),
            "forward": int(cell["passes"]["forward"]),
            "backward": int(cell["passes"]["backward"]),
            "spec_hash": str(cell["spec_hash"]),
        }
        order = np.argsort(frame["index"].to_numpy(), kind="stable")
        column = {
            name: frame[name].to_numpy()[order] for name in frame.columns if name not in ("fooled_by", "fooled_in")
        }
        label, robust = column["label"].astype(np.int64), column["robust"].astype(bool)
        right = column["clean"] == label
        step = column["step"].astype(np.int32)
        faults = tuple(_faults(cell, column, right, robust))
    except KeyError as error:
        path = cell.get("path", cell.get("spec_hash", "?"))
        raise ZsrError(f"{path}: the summary or its rows lack {error}; delete the cell and run snakemake") from error
    if len(order) == 0:
        raise ZsrError(f"{cell.get('path', known['spec_hash'])}: the cell has no rows; delete it and run snakemake")
    index = _shared(column["index"].astype(np.int64), arrays)
    return Cell(
        **known, index=index, label=_shared(label, arrays), right=right, robust=robust, step=step, faults=faults
    )


def _budget(cell: dict) -> int:
    """Steps, where "fell at step k" has one meaning; 0 where it has none.

    It has none for cells that only attack what stood elsewhere, for verdicts of the last iterate, for restarts and
    many targets, for a suite, and for images of another model.
    """
    attack = cell["attack"]
    several = "targets" in attack or int(attack.get("restarts") or 1) > 1
    suite = attack["name"].startswith("autoattack")
    if cell["follows"] or cell["spec"]["verdict"] == "last" or several or suite or attack["name"] == "transfer":
        return 0
    return int(attack.get("steps") or 0)


def _shared(array: np.ndarray, arrays: dict[bytes, np.ndarray]) -> np.ndarray:
    """The one array with these values."""
    return arrays.setdefault(array.tobytes(), array)


def _faults(cell: dict, column: dict[str, np.ndarray], right: np.ndarray, robust: np.ndarray) -> Iterable[str]:
    """Contradictions, each one sentence; what they mean for the table is for `zsr.report.tables.alarms` to say."""
    counts = {"n": len(robust), "clean_correct": int(right.sum()), "robust_correct": int(robust.sum())}
    for key, count in counts.items():
        if int(cell[key]) != count:
            yield f"the summary says {key} = {cell[key]}, its rows say {count}"
    if len(np.unique(column["index"])) != len(robust):
        yield "an image occurs twice"
    if lost := int((robust & ~right).sum()):
        yield f"{lost} images count as robust though the clean image is classified wrongly"
    clear = np.abs(column["margin"]) > NEAR
    if wrong := int((((column["adversarial"] == column["label"]) != robust) & clear).sum()):
        yield f"{wrong} verdicts contradict the prediction on the stored example"
    if far := int((column["distance"] > value(cell["eps"]) + BALL).sum()):
        yield f"{far} examples lie outside their ball (largest distance {float(column['distance'].max()):.6g})"
    if bad := int((~np.isfinite(column["margin"])).sum()):
        yield f"{bad} margins are not finite"


def unions(cells: list[Cell]) -> list[Cell]:
    """The worst case over all attacks at one ε: an image is robust if every attack left it so.

    Only of protocols that ask for it: whoever reproduces a paper wants its columns and no other.
    """
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.worst_case:
            groups[cell.model, cell.id, cell.dataset, cell.eps].append(cell)
    return [_union(attacked) for attacked in groups.values() if len(attacked) > 1]


def _union(cells: list[Cell]) -> Cell:
    """The union of one model's cells at one ε, on the images that all of them attacked."""
    first = cells[0]
    common = first.index
    for cell in cells[1:]:
        common = common if cell.index is common else np.intersect1d(common, cell.index)
    rows = [slice(None) if c.index is common else np.searchsorted(c.index, common) for c in cells]
    robust = np.logical_and.reduce([c.robust[rows_of_c] for c, rows_of_c in zip(cells, rows, strict=True)])
    return replace(
        first,
        attack=UNION,
        attack_name="union",
        index=common,
        label=first.label[rows[0]] if first.index is not common else first.label,
        right=first.right[rows[0]],
        robust=robust,
        step=np.empty(0, np.int32),
        steps=0,
        seconds=sum(c.seconds for c in cells),
        forward=sum(c.forward for c in cells),
        backward=sum(c.backward for c in cells),
        spec_hash="",
        follows="",
        signs={},
        unconfirmed=0,
        faults=(),
    )

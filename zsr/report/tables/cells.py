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

NEAR = 1e-4  # margins closer to zero than this may flip between two correct forward passes
BALL = 1e-6  # x0 ± ε itself rounds


@dataclass(frozen=True)
class Measured:
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
    step: np.ndarray | None = field(default=None, repr=False)  # [n] int32, as in zsr.attacks.Verdicts
    steps: int = 0  # the budget of an attack that is one run of steps, else 0
    seconds: float = 0.0
    zero_shot: bool = True  # False: a read-out that was trained on these very classes
    forward: int = 0
    backward: int = 0
    spec_hash: str = ""
    follows: str = ""  # the cells whose fallen images were not attacked again
    signs: dict = field(
        default_factory=dict, repr=False
    )  # what the attack's passes showed (`zsr.attacks.core.gradient_signs`)
    unconfirmed: int = 0  # images fooled in the attack's precision and not in float32
    worst_case: bool = False  # whether the protocol asks for the union over its attacks
    faults: tuple[str, ...] = ()  # where rows contradict the summary or themselves

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What one line of the report is: a model with all of its seeds."""
        return self.protocol, self.backbone, self.name, self.train_eps

    @property
    def union(self) -> bool:
        """True for the per-image union over attacks."""
        return self.attack_name == "union"


def measure(cells: Iterable[dict], rows: Callable[[dict], pd.DataFrame]) -> list[Measured]:
    """All cells, in the order given, each read once."""
    seen: dict[bytes, np.ndarray] = {}
    return [_measure(cell, rows(cell), seen) for cell in cells]


def _measure(cell: dict, frame: pd.DataFrame, seen: dict[bytes, np.ndarray]) -> Measured:
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
        place = cell.get("path", cell.get("spec_hash", "?"))
        raise ZsrError(f"{place}: the summary or its rows lack {error}; delete the cell and run snakemake") from error
    if len(order) == 0:
        raise ZsrError(f"{cell.get('path', known['spec_hash'])}: the cell has no rows; delete it and run snakemake")
    index = _shared(column["index"].astype(np.int64), seen)
    return Measured(
        **known, index=index, label=_shared(label, seen), right=right, robust=robust, step=step, faults=faults
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


def _shared(array: np.ndarray, seen: dict[bytes, np.ndarray]) -> np.ndarray:
    return seen.setdefault(array.tobytes(), array)


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


def unions(cells: list[Measured]) -> list[Measured]:
    """The worst case: an image stands only if it stood against every attack run at that ε in that threat model.

    Of protocols that ask for it alone: whoever reproduces a paper wants its columns and no other.
    """
    together: dict[tuple, list[Measured]] = defaultdict(list)
    for cell in cells:
        if not cell.worst_case:
            continue
        together[(cell.group, cell.id, cell.dataset, cell.threat, cell.eps)].append(cell)
    threats = {cell.protocol: set() for cell in cells}
    for cell in cells:
        threats[cell.protocol].add(cell.threat)
    return [
        _union(members, UNION if len(threats[members[0].protocol]) == 1 else f"{UNION} {members[0].threat}")
        for members in together.values()
        if len(members) > 1
    ]


def _union(members: list[Measured], label: str) -> Measured:
    first = members[0]
    common = first.index
    for member in members[1:]:
        common = common if member.index is common else np.intersect1d(common, member.index)
    at = [slice(None) if m.index is common else np.searchsorted(m.index, common) for m in members]
    robust = np.logical_and.reduce([m.robust[i] for m, i in zip(members, at, strict=True)])
    return replace(
        first,
        attack=label,
        attack_name="union",
        index=common,
        label=first.label[at[0]] if first.index is not common else first.label,
        right=first.right[at[0]],
        robust=robust,
        step=None,
        steps=0,
        seconds=sum(m.seconds for m in members),
        forward=sum(m.forward for m in members),
        backward=sum(m.backward for m in members),
        spec_hash="",
        follows="",
        signs={},
        unconfirmed=0,
        faults=(),
    )

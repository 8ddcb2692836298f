"""What a careful reader would stumble over, found by the machine and shown in the report.

An `alarm` is a number that should not be trusted before somebody has looked; a `note` is worth knowing. Tests on the
same images decide (exact McNemar), so that noise on small sets does not cry wolf.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from zsr.report.eps_order import value
from zsr.report.headline import AUTOATTACK
from zsr.report.tables.cells import Cell
from zsr.report.tables.keys import QUANTITIES, Labels, Row, Scopes
from zsr.report.tables.statistics import mcnemar, wilson

BLACK_BOX = ("square", "transfer")  # they look at no gradient of the model under attack
MASKED = 0.05  # PGD this far above AutoAttack: gradients are likely masked
FLIPS = 0.005  # verdicts that batch shapes may move
TAIL = 0.01  # share of images that fall in the last tenth of the steps of an attack that has not converged
LEVEL = 0.01
ZERO = 0.05  # share of images without a gradient at their first iterate
FEW = 10  # images below which neither a mean loss nor a share of them says anything


class Alarm(NamedTuple):
    """One line of alarms.csv."""

    severity: str  # alarm or note
    kind: str
    protocol: str
    backbone: str
    model: str
    dataset: str
    attack: str
    eps: str
    message: str


class Remark(NamedTuple):
    """What a check says of one cell."""

    cell: Cell
    severity: str
    kind: str
    message: str

    def as_alarm(self, labels: Labels) -> Alarm:
        cell = self.cell
        return Alarm(self.severity, self.kind, cell.protocol, cell.backbone, labels[cell.model], cell.dataset,
                     cell.attack, cell.eps, self.message)  # fmt: skip


def find(cells: list[Cell], labels: Labels, further: Iterable[Alarm]) -> pd.DataFrame:
    """All alarms and notes: those of the cells, and `further` ones that are known already."""
    plain = [cell for cell in cells if not cell.union]
    remarks = itertools.chain(
        (remark for cell in plain for remark in _of_one_cell(cell)),
        _of_groups(plain, lambda c: (c.protocol, c.id, c.dataset), _clean_disagrees),
        _of_groups(plain, lambda c: (c.protocol, c.id, c.dataset, c.attack), _rises),
        _of_groups(plain, lambda c: (c.protocol, c.id, c.dataset, c.eps), _stronger_leaves_more),
        _of_groups(plain, lambda c: (c.protocol, c.dataset, c.attack, c.eps), lambda c: _other_images(c, labels)),
    )
    frame = pd.DataFrame([*(remark.as_alarm(labels) for remark in remarks), *further], columns=list(Alarm._fields))
    return frame.sort_values("severity", kind="stable", ignore_index=True)


def missing_means(sets: pd.DataFrame, scopes: Scopes, incomplete: set[str]) -> Iterator[Alarm]:
    """Means that could not be formed; models in `incomplete` cannot have all sets, and their names say so."""
    for key, datasets in sets.groupby(list(Row._fields), sort=False)["dataset"]:
        row, present = Row(*key), set(datasets)
        for scope, names in scopes[row.condition].items():
            absent = [name for name in names if name not in present]
            if absent and row.model not in incomplete:
                message = f"the {scope} mean is left out: {len(absent)} of {len(names)} sets are missing"
                yield Alarm("alarm", "no mean", row.protocol, row.backbone, row.model, ", ".join(absent), row.attack,
                            row.eps, message)  # fmt: skip


def wrong_means(sets: pd.DataFrame, methods: pd.DataFrame, scopes: Scopes) -> list[Alarm]:
    """Means that are not those of their entries; the code that made them does not check them."""
    entries = {(_row(line), line["dataset"]): line for line in sets.to_dict("records")}
    alarms = []
    for line in methods.to_dict("records"):
        row, scope = _row(line), line["scope"]
        members = [entries.get((row, name)) for name in scopes[row.condition][scope]]
        for quantity in QUANTITIES:
            shares = [math.nan if entry is None else entry[quantity] for entry in members]
            mean, written = math.fsum(shares) / len(shares), line[quantity]
            if math.isnan(mean) != math.isnan(written) or abs(mean - written) > 1e-9:
                message = f"{scope}, {quantity}: {written:.4f} is written, the sets give {mean:.4f}"
                alarms.append(
                    Alarm("alarm", "average is not that of its entries", row.protocol, row.backbone, row.model, "",
                          row.attack, row.eps, message)
                )  # fmt: skip
    return alarms


def _row(line: dict) -> Row:
    return Row(*(line[name] for name in Row._fields))


def _of_groups(
    cells: list[Cell], key: Callable[[Cell], tuple], check: Callable[[list[Cell]], Iterable[Remark]]
) -> Iterator[Remark]:
    """What a check says of each group of cells with the same key."""
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[key(cell)].append(cell)
    for group in groups.values():
        yield from check(group)


def _of_one_cell(cell: Cell) -> Iterator[Remark]:
    """What one cell shows by itself."""
    for fault in cell.faults:
        yield Remark(cell, "alarm", "rows contradict the summary", fault)
    n, clean, robust = len(cell.robust), float(cell.right.mean()), float(cell.robust.mean())
    if robust > clean:
        yield Remark(cell, "alarm", "robust above clean", f"{robust:.1%} robust, {clean:.1%} clean")
    low, high = wilson(clean, n)
    guessing = f"{clean:.1%} clean accuracy, guessing gives {cell.chance:.1%}"
    if high <= cell.chance:
        yield Remark(cell, "alarm", "clean below chance", guessing)
    elif low <= cell.chance:
        yield Remark(cell, "note", "clean at chance", guessing)
    if robust == clean > 0 and n >= 50 and value(cell.eps) > 0:
        correct = int(cell.right.sum())
        severity = "alarm" if correct >= FEW else "note"
        yield Remark(cell, severity, "attack without effect", f"not one of {correct} correct images fell")
    yield from _gradient_signs(cell)
    if cell.unconfirmed:
        share = cell.unconfirmed / n
        message = f"{cell.unconfirmed} images ({share:.1%}) were fooled in the attack's precision and not in float32"
        yield Remark(cell, "alarm" if share > FLIPS else "note", "precisions disagree", message)
    if cell.steps >= 10:
        late = float(((cell.step > 0.9 * cell.steps) & ~cell.robust).mean())
        if late > TAIL:
            message = f"{late:.1%} of all images fell in the last tenth of its steps"
            yield Remark(cell, "note", "attack not converged", message)


def _gradient_signs(cell: Cell) -> Iterator[Remark]:
    """What the attack's passes show of a gradient that does not lead anywhere."""
    for part, seen in cell.signs.items():
        images, ended = seen["images"], seen["ended"]
        if seen["zero_gradient"] > ZERO * images:
            share = seen["zero_gradient"] / images
            message = f"{part}: {share:.1%} of {images} images give no gradient at all"
            yield Remark(cell, "alarm", "zero gradients", message)
        if ended < FEW:
            continue
        if seen["last"] <= seen["first"]:
            losses = f"{seen['first']:.4g} at the first step, {seen['last']:.4g} at the last"
            yield Remark(cell, "alarm", "loss does not rise", f"{part}: {losses}, over {ended} images")
        elif seen["rose"] < ended / 2:
            message = f"{part}: on {seen['rose']} of {ended} images alone"
            yield Remark(cell, "note", "loss does not rise", message)


def _clean_disagrees(cells: list[Cell]) -> Iterator[Remark]:
    """Clean accuracy belongs to model and set, not to the attack: cells that disagree ran something else."""
    first = cells[0]
    for cell in cells[1:]:
        _, mine, theirs = np.intersect1d(cell.index, first.index, return_indices=True)
        differ = int((cell.right[mine] != first.right[theirs]).sum())
        if differ:
            many = differ > FLIPS * len(mine)
            much = f"more than {FLIPS:.1%}" if many else "floating point may do that"
            other = f"{first.attack} at ε = {first.eps}"
            message = f"{differ} of {len(mine)} clean verdicts differ from {other} ({much})"
            yield Remark(cell, "alarm" if many else "note", "clean differs", message)


class Split(NamedTuple):
    """How the images that two cells share are split between them."""

    only_a: int  # images that stand in a alone
    only_b: int
    shared: int

    @property
    def gap(self) -> float:
        """The robust accuracy of a less that of b."""
        return (self.only_a - self.only_b) / self.shared

    @property
    def certain(self) -> bool:
        """Whether the difference is more than chance."""
        return mcnemar(self.only_a, self.only_b) < LEVEL


def _split(a: Cell, b: Cell) -> Split:
    if a.index is b.index:
        of_a, of_b = a.robust, b.robust
    else:
        _, i, j = np.intersect1d(a.index, b.index, return_indices=True)
        of_a, of_b = a.robust[i], b.robust[j]
    return Split(int((of_a & ~of_b).sum()), int((~of_a & of_b).sum()), len(of_a))


def _rises(cells: list[Cell]) -> Iterator[Remark]:
    """A larger ε must not leave more images standing."""
    for small, large in itertools.pairwise(sorted(cells, key=lambda c: value(c.eps))):
        split = _split(large, small)
        if split.only_a > split.only_b:
            message = f"{split.gap:+.1%} against ε = {small.eps}, though the larger ball holds the smaller"
            yield Remark(large, "alarm" if split.certain else "note", "robustness rises with ε", message)


def _stronger_leaves_more(cells: list[Cell]) -> Iterator[Remark]:
    """Stronger attacks must not leave more images standing than weaker ones."""
    black = [c for c in cells if c.attack_name in BLACK_BOX and not c.follows]  # a chained one inherits its falls
    strong = [c for c in cells if c.attack_name in AUTOATTACK]
    white = [c for c in cells if c.attack_name not in BLACK_BOX + AUTOATTACK]
    for weak, auto in itertools.product(white, strong):
        split = _split(weak, auto)
        if split.only_a - split.only_b > MASKED * split.shared and split.certain:
            message = f"{split.gap:+.1%} against {auto.attack}: gradients may be masked"
            yield Remark(weak, "alarm", "far above AutoAttack", message)
    for blind, gradient in itertools.product(black, white):
        split = _split(blind, gradient)
        if split.only_b > split.only_a and split.certain:
            message = f"{split.gap:+.1%} against {gradient.attack}: its gradients mislead"
            yield Remark(blind, "alarm", "black box below white box", message)


def _other_images(cells: list[Cell], labels: Labels) -> Iterator[Remark]:
    """Models are compared on the same images."""
    first = cells[0]
    for cell in cells[1:]:
        if cell.index is not first.index or cell.label is not first.label:
            message = f"not the images of {labels[first.model]}: no paired test"
            yield Remark(cell, "alarm", "other images", message)

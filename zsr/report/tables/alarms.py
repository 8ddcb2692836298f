"""What a careful reader would stumble over, found by the machine and shown in the report.

An `alarm` is a number that should not be trusted before somebody has looked; a `note` is worth knowing. Tests on the
same images decide (exact McNemar), so that noise on small sets does not cry wolf.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pandas as pd

from zsr.report.eps_order import value
from zsr.report.headline import AUTOATTACK
from zsr.report.tables.cells import Measured
from zsr.report.tables.statistics import mcnemar, wilson

COLUMNS = ["severity", "kind", "protocol", "backbone", "model", "dataset", "attack", "eps", "message"]
BLACK_BOX = ("square", "transfer")  # they look at no gradient of the model under attack
MASKED = 0.05  # PGD this far above AutoAttack: gradients are likely masked
FLIPS = 0.005  # verdicts that batch shapes may move
TAIL = 0.01  # share of images that fall in the last tenth of the steps of an attack that has not converged
LEVEL = 0.01
ZERO = 0.05  # share of images without a gradient at their first iterate
FEW = 10  # images below which neither a mean loss nor a share of them says anything


def find(cells: list[Measured], labels: dict[tuple, str], missing: Iterable[dict]) -> pd.DataFrame:
    """All alarms and notes; `missing` are lines for means whose sets are incomplete."""
    lines: list[dict] = []

    def report(severity: str, kind: str, cell: Measured, message: str) -> None:
        lines.append(
            {"severity": severity, "kind": kind, "protocol": cell.protocol, "backbone": cell.backbone,
             "model": labels[cell.group], "dataset": cell.dataset, "attack": cell.attack, "eps": cell.eps,
             "message": message}
        )  # fmt: skip

    plain = [cell for cell in cells if not cell.union]
    for cell in plain:
        for kind, severity, message in _alone(cell):
            report(severity, kind, cell, message)
    for same in _groups(plain, lambda c: (c.protocol, c.id, c.dataset)):
        for cell, message in _clean_disagrees(same):
            report("alarm" if cell is not None and "more than" in message else "note", "clean differs", cell, message)
    for curve in _groups(plain, lambda c: (c.protocol, c.id, c.dataset, c.attack, c.threat)):
        for cell, severity, message in _rises(curve):
            report(severity, "robustness rises with ε", cell, message)
    for rivals in _groups(plain, lambda c: (c.protocol, c.id, c.dataset, c.threat, c.eps)):
        for cell, kind, message in _orders(rivals):
            report("alarm", kind, cell, message)
    for column in _groups(plain, lambda c: (c.protocol, c.dataset, c.attack, c.eps)):
        first = column[0]
        for cell in column[1:]:
            if cell.index is not first.index or cell.label is not first.label:
                report("alarm", "other images", cell, f"not the images of {labels[first.group]}: no paired test")
    lines += missing
    frame = pd.DataFrame(lines, columns=COLUMNS)
    return frame.sort_values("severity", kind="stable", ignore_index=True)


def averages(sets: pd.DataFrame, methods: pd.DataFrame, scopes: dict[tuple, dict[str, list[str]]]) -> list[dict]:
    """Means that are not those of their entries, one alarm each; what made them does not check them."""
    keys = ["protocol", "backbone", "model", "attack", "eps"]
    names = [*keys, "dataset", "clean", "robust"]
    entries = {tuple(row[:6]): row[6:] for row in sets[names].itertuples(index=False, name=None)}
    lines = []
    for row in methods[[*keys, "scope", "clean", "robust"]].itertuples(index=False, name=None):
        key, scope, said = row[:5], row[5], row[6:]
        members = [entries.get((*key, name)) for name in scopes[(key[0], key[3], key[4])][scope]]
        for place, quantity in enumerate(("clean", "robust")):
            shares = [math.nan if entry is None else entry[place] for entry in members]
            mean = math.fsum(shares) / len(shares)
            if math.isnan(mean) != math.isnan(said[place]) or abs(mean - said[place]) > 1e-9:
                lines.append(
                    {"severity": "alarm", "kind": "average is not that of its entries",
                     **dict(zip(keys, key, strict=True)), "dataset": "",
                     "message": f"{scope}, {quantity}: {said[place]:.4f} is written, the sets give {mean:.4f}"}
                )  # fmt: skip
    return lines


def _groups(cells: list[Measured], key) -> Iterable[list[Measured]]:
    found: dict[tuple, list[Measured]] = defaultdict(list)
    for cell in cells:
        found[key(cell)].append(cell)
    return found.values()


def _alone(cell: Measured) -> Iterable[tuple[str, str, str]]:
    """What one cell shows by itself: (kind, severity, message)."""
    for fault in cell.faults:
        yield "rows contradict the summary", "alarm", fault
    n, clean, robust = len(cell.robust), float(cell.right.mean()), float(cell.robust.mean())
    if robust > clean:
        yield "robust above clean", "alarm", f"{robust:.1%} robust, {clean:.1%} clean"
    if wilson(clean, n)[1] <= cell.chance:
        yield "clean below chance", "alarm", f"{clean:.1%} clean accuracy, guessing gives {cell.chance:.1%}"
    elif wilson(clean, n)[0] <= cell.chance:
        yield "clean at chance", "note", f"{clean:.1%} clean accuracy, guessing gives {cell.chance:.1%}"
    if robust == clean > 0 and n >= 50 and value(cell.eps) > 0:
        correct = int(cell.right.sum())
        yield (
            "attack without effect",
            "alarm" if correct >= FEW else "note",
            f"not one of {correct} correct images fell",
        )
    yield from _signs(cell)
    if cell.unconfirmed:
        share = cell.unconfirmed / n
        text = f"{cell.unconfirmed} images ({share:.1%}) were fooled in the attack's precision and not in float32"
        yield "precisions disagree", "alarm" if share > FLIPS else "note", text
    if cell.step is not None and cell.steps >= 10:
        late = float(((cell.step > 0.9 * cell.steps) & ~cell.robust).mean())
        if late > TAIL:
            yield "attack not converged", "note", f"{late:.1%} of all images fell in the last tenth of its steps"


def _signs(cell: Measured) -> Iterable[tuple[str, str, str]]:
    """What the passes themselves show of a gradient that does not lead anywhere."""
    for part, seen in cell.signs.items():
        if seen["zero_gradient"] > ZERO * seen["images"]:
            share = seen["zero_gradient"] / seen["images"]
            yield "zero gradients", "alarm", f"{part}: {share:.1%} of {seen['images']} images give no gradient at all"
        if seen["ended"] >= FEW and seen["last"] <= seen["first"]:
            yield (
                "loss does not rise",
                "alarm",
                (
                    f"{part}: {seen['first']:.4g} at the first step, {seen['last']:.4g} at the last, "
                    f"over {seen['ended']} images"
                ),
            )
        elif seen["ended"] >= FEW and seen["rose"] < seen["ended"] / 2:
            yield "loss does not rise", "note", f"{part}: on {seen['rose']} of {seen['ended']} images alone"


def _clean_disagrees(same: list[Measured]) -> Iterable[tuple[Measured, str]]:
    """Clean accuracy belongs to model and set, not to the attack: cells that disagree ran something else."""
    first = same[0]
    for cell in same[1:]:
        _, mine, theirs = np.intersect1d(cell.index, first.index, return_indices=True)
        differ = int((cell.right[mine] != first.right[theirs]).sum())
        if differ:
            much = f"more than {FLIPS:.1%}" if differ > FLIPS * len(mine) else "floating point may do that"
            yield cell, f"{differ} of {len(mine)} clean verdicts differ from {first.attack} at ε = {first.eps} ({much})"


def _only(a: Measured, b: Measured) -> tuple[int, int, int]:
    """Images that stand in a alone, in b alone, and how many both saw."""
    if a.index is b.index:
        ours, theirs = a.robust, b.robust
    else:
        _, i, j = np.intersect1d(a.index, b.index, return_indices=True)
        ours, theirs = a.robust[i], b.robust[j]
    return int((ours & ~theirs).sum()), int((~ours & theirs).sum()), len(ours)


def _rises(curve: list[Measured]) -> Iterable[tuple[Measured, str, str]]:
    for small, large in itertools.pairwise(sorted(curve, key=lambda c: value(c.eps))):
        more, less, n = _only(large, small)
        if more > less:
            severity = "alarm" if mcnemar(more, less) < LEVEL else "note"
            rise = (more - less) / n
            yield large, severity, f"{rise:+.1%} against ε = {small.eps}, though the larger ball holds the smaller"


def _orders(rivals: list[Measured]) -> Iterable[tuple[Measured, str, str]]:
    """Stronger attacks must not leave more images standing than weaker ones."""
    black = [c for c in rivals if c.attack_name in BLACK_BOX and not c.follows]  # a chained one inherits its falls
    strong = [c for c in rivals if c.attack_name in AUTOATTACK]
    white = [c for c in rivals if c.attack_name not in BLACK_BOX + AUTOATTACK]
    for ours in white:
        for theirs in strong:
            more, less, n = _only(ours, theirs)
            if more - less > MASKED * n and mcnemar(more, less) < LEVEL:
                gap = (more - less) / n
                yield ours, "far above AutoAttack", f"{gap:+.1%} against {theirs.attack}: gradients may be masked"
    for theirs in black:
        for ours in white:
            more, less, n = _only(ours, theirs)
            if more > less and mcnemar(more, less) < LEVEL:
                gap = (less - more) / n
                yield theirs, "black box below white box", f"{gap:+.1%} against {ours.attack}: its gradients mislead"

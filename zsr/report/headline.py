"""Which attack and which ε the report opens with, so that tables, figures and page agree."""

import pandas as pd

from zsr.report.eps_order import ordered, value

LEVEL = 0.05  # of the tests that mark a tie
UNION = "worst case"  # the label of the per-image union over all attacks
AUTOATTACK = ("autoattack-plus", "autoattack", "autoattack-papers")
STRONG = (*AUTOATTACK, "apgd-t", "apgd-dlr", "apgd-ce")  # after the union, the strongest attack that ran speaks


def pick(cells: pd.DataFrame) -> tuple[str, str]:
    """(attack, ε) of one protocol's cells: the union, else the strongest attack; the ε that most models trained for."""
    labels = list(dict.fromkeys(cells["attack"]))
    names = dict(zip(cells["attack"], cells["attack_name"], strict=True))
    attack = labels[-1]
    if UNION in labels:
        attack = UNION
    else:
        for strong in STRONG:
            if match := [label for label in labels if names[label] == strong]:
                attack = match[0]
                break
    levels = ordered(cells.loc[cells["attack"] == attack, "eps"])
    trained = cells.drop_duplicates("id")["train_eps"].value_counts()
    for eps in trained.index:
        same = [level for level in levels if value(level) == value(eps)]
        if eps and same:
            return attack, same[0]
    return attack, levels[len(levels) // 2]

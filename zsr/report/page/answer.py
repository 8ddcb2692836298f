"""The first sentence of the report: who wins under this protocol, by how much, and whether that is more than chance."""

import pandas as pd

from zsr.report.escape import text
from zsr.report.figures.theme import baseline
from zsr.report.headline import LEVEL
from zsr.report.percent import fixed, percent

NAMED = 4  # models that the first sentence names beside the best; the table has them all


def sentences(methods: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, str]:
    """'protocol|backbone|attack|ε' (as a JSON-safe key, see `key`) -> HTML."""
    answers = {}
    keys = ["protocol", "backbone", "attack", "eps"]
    robust = pairs[(pairs["quantity"] == "robust") & pairs["scope"].isin(["zero-shot", "unrelated"])]
    tests = dict(list(robust.groupby(keys, sort=False)))
    for names, part in methods.groupby(keys, sort=False):
        test = tests.get(names, robust.iloc[:0])
        answers[key(*names)] = _answer(names, part, test)
    return answers


def key(*names: str) -> str:
    """One string for several names; the separator cannot be typed into a config by accident."""
    return "\x1f".join(names)


def _answer(names: tuple[str, ...], part: pd.DataFrame, test: pd.DataFrame) -> str:
    protocol, backbone, attack, eps = (f"<b>{text(name)}</b>" for name in names)
    condition = f"Under protocol {protocol} with backbone {backbone}, against {attack} at ε = {eps}"
    means = part[(part["scope"] == "zero-shot") & part["robust"].notna()]
    if means.empty:
        return f"<p class='lead'>{condition}: no mean over the zero-shot sets can be formed (see the alarms).</p>"
    best = means.loc[means["robust"].idxmax()]
    count = int(best["sets"])
    over = f"the mean over {count} zero-shot {'set' if count == 1 else 'sets'}"
    if best["robust"] == 0:
        who = "the model does not stand" if len(means) == 1 else f"none of the {len(means)} models stands"
        return f"<p class='lead'>{condition}, {who}: {share(0)} {interval(best, 'robust')} robust accuracy, {over}.</p>"
    lines = [
        f"{condition}, <mark>{text(best['model'])}</mark> stands best: "
        f"<strong>{share(best['robust'])}</strong> {interval(best, 'robust')} robust accuracy, "
        f"{over}, at {share(best['clean'])} {interval(best, 'clean')} clean."
    ]
    lines.append(_lead(best["model"], test[test["scope"] == "zero-shot"]))
    plain = means[means["method"].map(baseline)]
    if not plain.empty and best["model"] != plain.iloc[0]["model"]:
        row = plain.iloc[0]
        lines.append(f"The undefended model keeps {share(row['robust'])} at {share(row['clean'])} clean.")
    result = f"<p class='lead'>{' '.join(filter(None, lines))}</p>"
    alone = part[(part["scope"] == "unrelated") & part["robust"].notna()]
    if not alone.empty and int(alone.iloc[0]["sets"]) != count:
        top = alone.loc[alone["robust"].idxmax()]
        follow = _lead(top["model"], test[test["scope"] == "unrelated"])
        size = int(top["sets"])
        result += (
            f"<p>On the {size} {'set' if size == 1 else 'sets'} without a label word of the source: "
            f"<b>{text(top['model'])}</b>, {share(top['robust'])} {interval(top, 'robust')} robust at "
            f"{share(top['clean'])} clean. {follow}</p>"
        )
    return result


def _lead(best: str, test: pd.DataFrame) -> str:
    """How far ahead of the next model, and which models the paired test cannot tell from the best."""
    ours = test[(test["a"] == best) | (test["b"] == best)].copy()
    if ours.empty:
        return ""
    turned = ours["b"] == best
    ours["other"] = ours["a"].where(turned, ours["b"])
    ours["gap"] = ours["difference"].where(~turned, -ours["difference"])
    low, high = ours["lo"].where(~turned, -ours["hi"]), ours["hi"].where(~turned, -ours["lo"])
    ours = ours.assign(low=low, high=high).sort_values("gap", kind="stable")
    ties = ours[ours["p_holm"] >= LEVEL]
    if ties.empty:
        row = ours.iloc[0]
        return (
            f"It leads {text(row['other'])} by {points(row['gap'])} points "
            f"<span class='ci-text'>[{points(row['low'])}, {points(row['high'])}]</span>, p {p_value(row['p_holm'])}."
        )
    names = [
        f"{text(row['other'])} ({points(row['gap'])} points behind, p {p_value(row['p_holm'])})"
        for _, row in ties.head(NAMED).iterrows()
    ]
    if len(ties) > NAMED:
        names.append(f"and {len(ties) - NAMED} more")
    return f"The paired test cannot tell it from {', '.join(names)}."


def share(value: float) -> str:
    """0.304 -> '30.4 %' with a narrow space that does not break."""
    return f"{fixed(percent(value))}\u202f%"


def points(value: float) -> str:
    """A difference of shares, in points."""
    return fixed(percent(value))


def interval(row: pd.Series, quantity: str) -> str:
    """The 95 % interval of a share, in percent."""
    return f"<span class='ci-text'>[{points(row[f'{quantity}_lo'])}, {points(row[f'{quantity}_hi'])}]</span>"


def p_value(p: float) -> str:
    """'< 0.001' or '= 0.034'."""
    return "&lt; 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"

"""Writes the accuracies of a model: a model card for people, and entries in the form of RobustBench for tools."""

import json

import pandas as pd

from zsr.report.headline import UNION
from zsr.report.page.answer import points
from zsr.report.tables.statistics import wilson

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}  # as RobustBench names threat models
SUITES = ("autoattack", "autoattack-plus")  # what RobustBench calls AutoAttack; two of its four parts are not it


def card(name: str, cells: pd.DataFrame, spec: dict, definition: dict, facts: dict) -> str:
    """README.md of a model folder on Hugging Face's hub; `cells` are the model's lines of tables/cells.csv."""
    first = cells.iloc[0]
    trained = {"": "not fine-tuned", "0": "fine-tuned on clean images"}.get(
        first["train_eps"], f"fine-tuned with ε = {first['train_eps']} in training"
    )
    front = {
        "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip", "adversarial-robustness", "zsr"],
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", f"# {_plain(name)}", ""]
    lines += [
        f"CLIP with backbone `{_plain(first['backbone'])}`, {trained} by the method `{_plain(first['method'])}`. "
        "The text tower is the backbone's, unchanged.",
        "",
        "```python",
        "import open_clip",
        f"model = open_clip.create_model({json.dumps('local-dir:' + name)})  # or hf-hub:<owner>/<name>",
        "```",
        "",
    ]
    if definition["tokenizer"] == "words":
        lines += ["Prompts are tokenized by words: `words.txt` is the vocabulary, a line a word, the line is the id; a "
                  "prompt is `<start>`, its words, `<end>`, then `<pad>` to the context length.", ""]  # fmt: skip
    for protocol, part in cells.groupby("protocol", sort=False):
        lines += [f"## Zero-shot accuracy (%), protocol `{_plain(protocol)}`", "", *_table(part), ""]
    lines += ["Shares of the images stated, with Wilson's interval at 95 %.", "", "## Training", "", "```json",
              json.dumps({key: spec[key] for key in ("method", "settings", "recipe", "eps", "seed") if key in spec},
                         indent=1, ensure_ascii=False), "```", "", "## Where it comes from", ""]  # fmt: skip
    lines += [f"- {key}: `{value}`" for key, value in facts.items()]
    lines += ["", "Robustness was measured against the attacks named above and no others. Licence: that of the "
              "backbone's weights and of the images it was trained on.", ""]  # fmt: skip
    return "\n".join(lines)


def _table(cells: pd.DataFrame) -> list[str]:
    columns = list(dict.fromkeys(zip(cells["attack"], cells["eps"], strict=True)))
    lines = ["| set | images | clean | " + " | ".join(f"{_plain(a)}, ε = {e}" for a, e in columns) + " |"]
    lines.append("|---|---:|" + "---:|" * (1 + len(columns)))
    for dataset, part in cells.groupby("dataset", sort=False):
        measured = {(row["attack"], row["eps"]): row for _, row in part.iterrows()}
        first = part.iloc[0]
        source = " (fine-tuned on it)" if first["is_source"] and first["train_eps"] else ""
        numbers = [_share(measured[key], "robust") if key in measured else "–" for key in columns]
        lines.append(f"| {_plain(dataset)}{source} | {first['n']} | {_share(first, 'clean')} | {' | '.join(numbers)} |")
    return lines


def _share(row: pd.Series, quantity: str) -> str:
    lo, hi = wilson(row[quantity], int(row["n"]))
    return f"{points(row[quantity])} [{points(lo)}, {points(hi)}]"


def _plain(name: object) -> str:
    """A name inside Markdown: what could end a cell, a code span or a line is taken out."""
    return " ".join(str(name).replace("|", "/").replace("`", "'").split())


def robustbench(name: str, cells: pd.DataFrame) -> dict:
    """One model as RobustBench's model_info files have it, an entry for each set, threat model and ε."""
    first = cells.iloc[0]
    entries = []
    for (protocol, dataset, threat, eps), part in cells.groupby(["protocol", "dataset", "threat", "eps"], sort=False):
        attacks = part[part["attack_name"] != "union"]
        suites = attacks[attacks["attack_name"].isin(SUITES)]
        worst = part[part["attack_name"] == "union"]  # the least of the attacks' shares would be above the union's
        entries.append(
            {
                "dataset": dataset,
                "threat": NORMS.get(threat, threat),
                "eps": eps,
                "protocol": protocol,
                "images": int(part["n"].iloc[0]),
                "clean_acc": points(part["clean"].iloc[0]),
                "autoattack_acc": points(suites["robust"].min()) if len(suites) else None,
                "attacks": {row["attack"]: points(row["robust"]) for _, row in attacks.iterrows()},
                UNION.replace(" ", "_"): points(worst["robust"].min()) if len(worst) else None,
            }
        )
    return {
        "name": name,
        "architecture": first["backbone"],
        "method": first["method"],
        "trained_with_eps": first["train_eps"] or None,
        "additional_data": False,
        "number_forward_passes": 1,
        "entries": entries,
    }

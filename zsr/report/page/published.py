"""Our numbers beside published ones: only where the same thing was measured, and what differs is said."""

import pandas as pd

from zsr.report.escape import text
from zsr.report.percent import fixed

NOTHING = (
    "<p>No published number is about the same method, backbone, training set, shots, set, ε and family of attack as "
    "one of these results: nothing stands beside them.</p>"
)
HEAD = ("model", "set", "attack, ε", "clean: ours", "published", "robust: ours", "published", "paper", "what differs")


def html(beside: pd.DataFrame | None) -> str:
    """The table of `zsr.report.published_numbers.beside`, or one line where no published number agrees."""
    if beside is None or beside.empty:
        return NOTHING
    head = "".join(f"<th scope='col'>{name}</th>" for name in HEAD)
    rows = "".join(_row(line) for line in beside.to_dict("records"))
    return (
        "<p class='key'>Accuracies in percent. Only where method, backbone, training set, shots, set, ε and family of "
        "attack agree; read the last column before the numbers. Learning rate, batch and epochs are compared only "
        "where the published row names them.</p>"
        "<div class='scroll' role='region' tabindex='0' aria-label='Ours beside published'><table class='plain'>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(line: dict) -> str:
    arxiv = f" ({line['arxiv']})" if line["arxiv"] else ""
    cells = [
        text(line["dataset"]),
        f"{text(line['attack'])}, {text(line['eps'])}",
        *(_number(line[key]) for key in ("our_clean", "clean", "our_robust", "robust")),
        text(f"{line['paper']}{arxiv}, {line['source']}"),
        text("; ".join(filter(None, (line["differs"], line["mark"]))) or "nothing that is compared"),
    ]
    return f"<tr><th scope='row'>{text(line['model'])}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _number(value: float) -> str:
    return "–" if value is None or value != value else fixed(value)

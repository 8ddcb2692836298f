"""One table of the report as CSV, Markdown or LaTeX (booktabs): what the page's downloads give, for the command line.

page_downloads.js writes the same text by the same rules, and a test compares them.
"""

import csv
import io
import re

from zsr.report.page.answer import key
from zsr.report.page.grid import Accuracy, Grid, accuracy, empty
from zsr.report.percent import fixed, plain

TEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
       "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
       '"': r"\textquotedbl{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", "ε": r"$\varepsilon$",
       "–": "--", "−": "$-$", "×": r"$\times$"}  # fmt: skip
# [ and * would be read as arguments of the \\ or \midrule before them
Numbers = list[list[Accuracy | None]]  # [model][column]


def write(grid: Grid, attack: str, eps: str, quantity: str, form: str) -> str:
    """`grid` of `zsr.report.page.grid.grids`; `quantity` robust | clean; `form` md | latex | csv."""
    entries = grid["values"].get(key(attack, eps)) or empty(grid["models"], grid["columns"])
    numbers = [[accuracy(entry, quantity) for entry in row] for row in entries]
    return FORMS[form](grid, numbers, caption(grid, attack, eps, quantity))


def caption(grid: Grid, attack: str, eps: str, quantity: str) -> str:
    """What the table is of, in one sentence."""
    table = f"{quantity.capitalize()} accuracy (%), protocol {grid['protocol']}, backbone {grid['backbone']}"
    return f"{table}." if quantity == "clean" else f"{table}, {attack}, ε = {eps}."


def as_csv(grid: Grid, numbers: Numbers, title: str) -> str:
    """Shares in percent, not rounded, and the ends of their intervals."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [column["name"] for column in grid["columns"]]
    writer.writerow(["model", *(f"{name}{end}" for name in names for end in ("", " from", " to"))])
    for model, row in zip(grid["models"], numbers, strict=True):
        fields = [field for cell in row for field in _csv_fields(cell)]
        writer.writerow([model["name"], *fields])
    return file.getvalue()


def _csv_fields(cell: Accuracy | None) -> list[str]:
    return [plain(cell.share), plain(cell.low), plain(cell.high)] if cell else ["", "", ""]


def as_markdown(grid: Grid, numbers: Numbers, title: str) -> str:
    """A pipe table; the best of a column is bold, its ties have a dagger."""

    def number(cell: Accuracy | None) -> str:
        if cell is None:
            return "–"
        text = fixed(cell.share)
        return f"**{text}**" if cell.mark == "best" else text + ("†" if cell.mark == "tie" else "")

    lines = [["model", *(_md(column["name"]) for column in grid["columns"])]]
    lines.append(["---", *("---:" for _ in grid["columns"])])
    lines += [[_md(model["name"]), *map(number, row)] for model, row in zip(grid["models"], numbers, strict=True)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{_md(title)} **bold**: best; †: tied with the best (paired test, Holm)\n"


def as_latex(grid: Grid, numbers: Numbers, title: str) -> str:
    """A table for booktabs; the best of a column is bold, its ties are underlined."""

    def number(cell: Accuracy | None) -> str:
        if cell is None:
            return "--"
        text = fixed(cell.share)
        return {"best": f"\\textbf{{{text}}}", "tie": f"\\underline{{{text}}}"}.get(cell.mark, text)

    def line(fields: list[str]) -> str:
        return f"  {' & '.join(fields)} \\\\"

    return "\n".join([
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}",
        "\\begin{table}", "\\centering",
        f"\\caption{{{_tex(title)} Bold: best; underlined: tied with the best (paired test, Holm).}}",
        f"\\begin{{tabular}}{{l{'r' * len(grid['columns'])}}}", "  \\toprule",
        line(["model", *(_tex(column["name"]) for column in grid["columns"])]), "  \\midrule",
        *(line([_tex(model["name"]), *map(number, row)]) for model, row in zip(grid["models"], numbers, strict=True)),
        "  \\bottomrule", "\\end{tabular}", "\\end{table}", "",
    ])  # fmt: skip


def _md(name: object) -> str:
    return re.sub(r"[\r\n]+", " ", re.sub(r"([\\|`*_<>\[\]&])", r"\\\1", str(name)))


def _tex(name: object) -> str:
    return re.sub(r"[\r\n]+", " ", "".join(TEX.get(sign, sign) for sign in str(name)))


FORMS = {"csv": as_csv, "md": as_markdown, "latex": as_latex}

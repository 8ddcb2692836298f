"""One table of the report as CSV, Markdown or LaTeX (booktabs): what the page's downloads give, for the command line.

page_downloads.js writes the same text by the same rules, and a test compares them.
"""

import csv
import io
import re

from zsr.report.page.answer import key
from zsr.report.percent import fixed, plain

PLACE = {"clean": 0, "robust": 5}  # in an entry of a grid: share, from, to, deviation over seeds, mark
TEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
       "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
       '"': r"\textquotedbl{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", "ε": r"$\varepsilon$",
       "–": "--", "−": "$-$", "×": r"$\times$"}  # fmt: skip
# [ and * would be read as arguments of the \\ or \midrule before them


def write(grid: dict, attack: str, eps: str, quantity: str, form: str) -> str:
    """`grid` of `zsr.report.page.grid.grids`; `quantity` robust | clean; `form` md | latex | csv."""
    values = grid["values"].get(key(attack, eps)) or [[None] * len(grid["columns"]) for _ in grid["models"]]
    return FORMS[form](grid, values, PLACE[quantity], caption(grid, attack, eps, quantity))


def caption(grid: dict, attack: str, eps: str, quantity: str) -> str:
    """What the table is of, in one sentence."""
    where = f"{quantity.capitalize()} accuracy (%), protocol {grid['protocol']}, backbone {grid['backbone']}"
    return f"{where}." if quantity == "clean" else f"{where}, {attack}, ε = {eps}."


def as_csv(grid: dict, values: list, at: int, title: str) -> str:
    """Shares in percent, not rounded, and the ends of their intervals."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [column["name"] for column in grid["columns"]]
    writer.writerow(["model", *(f"{name}{end}" for name in names for end in ("", " from", " to"))])
    for model, row in zip(grid["models"], values, strict=True):
        numbers = [number for entry in row for number in (entry[at : at + 3] if entry else [None] * 3)]
        writer.writerow([model["name"], *("" if number is None else plain(number) for number in numbers)])
    return file.getvalue()


def as_markdown(grid: dict, values: list, at: int, title: str) -> str:
    """A pipe table; the best of a column is bold, its ties have a dagger."""

    def number(entry: list | None) -> str:
        if entry is None or entry[at] is None:
            return "–"
        text, mark = fixed(entry[at]), entry[at + 4]
        return f"**{text}**" if mark == "best" else text + ("†" if mark == "tie" else "")

    lines = [["model", *(_md(column["name"]) for column in grid["columns"])]]
    lines.append(["---", *("---:" for _ in grid["columns"])])
    lines += [[_md(model["name"]), *map(number, row)] for model, row in zip(grid["models"], values, strict=True)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{_md(title)} **bold**: best; †: tied with the best (paired test, Holm)\n"


def as_latex(grid: dict, values: list, at: int, title: str) -> str:
    """A table for booktabs; the best of a column is bold, its ties are underlined."""

    def number(entry: list | None) -> str:
        if entry is None or entry[at] is None:
            return "--"
        text, mark = fixed(entry[at]), entry[at + 4]
        return f"\\textbf{{{text}}}" if mark == "best" else f"\\underline{{{text}}}" if mark == "tie" else text

    def line(fields: list[str]) -> str:
        return f"  {' & '.join(fields)} \\\\"

    return "\n".join([
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}",
        "\\begin{table}", "\\centering",
        f"\\caption{{{_tex(title)} Bold: best; underlined: tied with the best (paired test, Holm).}}",
        f"\\begin{{tabular}}{{l{'r' * len(grid['columns'])}}}", "  \\toprule",
        line(["model", *(_tex(column["name"]) for column in grid["columns"])]), "  \\midrule",
        *(line([_tex(model["name"]), *map(number, row)]) for model, row in zip(grid["models"], values, strict=True)),
        "  \\bottomrule", "\\end{tabular}", "\\end{table}", "",
    ])  # fmt: skip


def _md(name: object) -> str:
    return re.sub(r"[\r\n]+", " ", re.sub(r"([\\|`*_<>\[\]&])", r"\\\1", str(name)))


def _tex(name: object) -> str:
    return re.sub(r"[\r\n]+", " ", "".join(TEX.get(sign, sign) for sign in str(name)))


FORMS = {"csv": as_csv, "md": as_markdown, "latex": as_latex}

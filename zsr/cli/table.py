"""`zsr table`: one table of the report on the terminal or in a paper."""

import argparse
import sys
from pathlib import Path

from zsr.cli import plan_of
from zsr.errors import ZsrError, unknown
from zsr.store import read_record

FORMS = ("md", "latex", "csv")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--protocol", help="a protocol of the config (default: the first)")
    parser.add_argument("--backbone", help="a backbone of the config (default: each, one table after another)")
    parser.add_argument("--attack", help="a name of `attacks`, or 'worst case' (default: the strongest that ran)")
    parser.add_argument("--eps", help="ε as the config writes it (default: that of training)")
    parser.add_argument("--quantity", choices=("robust", "clean"), default="robust", help="which accuracy")
    parser.add_argument("--format", choices=FORMS, default="md", help="latex needs the package booktabs (default: md)")
    parser.add_argument("--output", "-o", metavar="FILE", type=Path, help="write there instead of the terminal")


def run(given: argparse.Namespace) -> int:
    from zsr.report import csvs, formats, grid, headline
    from zsr.report.epsilon import ordered, value

    plan = plan_of(given)
    record = plan.results / plan.tables.record
    tables = csvs.read(record.parent, read_record(record, plan.tables.hash))
    cells = tables["cells"]
    protocol = _one("protocol", given.protocol, cells["protocol"])
    cells = cells[cells["protocol"] == protocol]
    attack, eps = headline.pick(cells)
    attack = _one("attack", given.attack or attack, cells["attack"])
    levels = ordered(cells.loc[cells["attack"] == attack, "eps"])
    if given.eps is not None:
        same = [level for level in levels if value(level) == value(given.eps)]
        if not same:
            raise ZsrError(f"--eps: '{given.eps}' was not measured; there are {', '.join(levels)}")
        eps = same[0]
    wanted = given.backbone and _one("backbone", given.backbone, cells["backbone"])
    made = [
        formats.write(found, attack, eps, given.quantity, given.format)
        for found in grid.grids(tables)
        if found["protocol"] == protocol and wanted in (None, found["backbone"])
    ]
    text = "\n".join(made)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


def _one(what: str, given: str | None, known) -> str:
    names = list(dict.fromkeys(known))
    if given is None:
        return names[0]
    if given not in names:
        raise unknown(what, given, names, f"--{what}")
    return given

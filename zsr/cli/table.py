"""`zsr table`: one table of the report on the terminal or in a paper."""

import argparse
import sys
from collections.abc import Iterable

from zsr.cli import plan_of
from zsr.cli.values import check_file, name_of_file, refusing
from zsr.epsilon import fraction_of
from zsr.errors import ZsrError, unknown
from zsr.storage.records import read_record

FORMS = ("md", "latex", "csv")
LARGEST = 10**9  # no ε comes near it, and a float can hold it


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--protocol", help="a protocol of the config (default: the first)")
    parser.add_argument("--backbone", help="a backbone of the config (default: each, one table after another)")
    parser.add_argument("--attack", help="a name of `attacks`, or 'worst case' (default: the strongest that ran)")
    parser.add_argument("--eps", help="ε as the config writes it (default: that of training)")
    parser.add_argument("--quantity", choices=("robust", "clean"), default="robust", help="which accuracy")
    parser.add_argument("--format", choices=FORMS, default="md", help="latex needs the package booktabs (default: md)")
    parser.add_argument("--output", "-o", metavar="FILE", type=name_of_file, help="write there instead of the terminal")


def run(given: argparse.Namespace) -> int:
    from zsr.report import csv_tables, headline
    from zsr.report.eps_order import ordered, value
    from zsr.report.page import grid, table_formats

    plan = plan_of(given)
    if given.output:
        check_file("--output", given.output)
    record = plan.results / plan.tables.record
    tables = csv_tables.read(record.parent, read_record(record, plan.tables.hash))
    cells = tables["cells"]
    protocol = _one("protocol", given.protocol, cells["protocol"])
    cells = cells[cells["protocol"] == protocol]
    attack, eps = headline.pick(cells)
    attack = _one("attack", attack if given.attack is None else given.attack, cells["attack"])
    asked = eps if given.eps is None else given.eps
    number = fraction_of(asked, "--eps")
    levels = ordered(cells.loc[cells["attack"] == attack, "eps"])
    same = [level for level in levels if 0 < number < LARGEST and value(level) == float(number)]
    if not same:
        raise ZsrError(f"--eps: '{asked}' was not measured with {attack}; there are {', '.join(levels)}")
    eps = same[0]
    wanted = None if given.backbone is None else _one("backbone", given.backbone, cells["backbone"])
    made = [
        table_formats.write(table, attack, eps, given.quantity, given.format)
        for table in grid.grids(tables)
        if table["protocol"] == protocol and wanted in (None, table["backbone"])
    ]
    text = "\n".join(made)
    if given.output:
        with refusing("--output", given.output):
            given.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


def _one(what: str, given: str | None, known: Iterable[str]) -> str:
    """The name that an option gives, or the first of those that the table has."""
    names = list(dict.fromkeys(known))
    if given is None:
        return names[0]
    if given not in names:
        raise unknown(what, given, names, f"--{what}")
    return given

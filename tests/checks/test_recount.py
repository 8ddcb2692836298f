"""Tables are recounted from rows by other code: right ones pass, each wrong number is named."""

import pytest
from support import synthetic

from zsr.checks.recount_tables import CellRows, Recount
from zsr.report import csv_tables
from zsr.report.tables.build import build_tables


@pytest.fixture(scope="module")
def results():
    return synthetic.make(attacks=("pgd-10", "autoattack"), seeds=(0, 1))


@pytest.fixture
def folder(results, tmp_path):
    for name, table in build_tables(results.cells, results.rows, results.models).items():
        (tmp_path / f"{name}.csv").write_text(csv_tables.dumps(table), encoding="utf-8")
    return tmp_path


def counted(results):
    for cell in results.cells:
        rows, data = results.rows(cell), cell["dataset"]
        yield CellRows(
            cell["protocol"], cell["model"]["id"], data["name"], cell["attack"]["label"],
            cell["eps"], data["is_source"], data["shares_words"], cell["worst_case"], rows["index"].to_numpy(),
            (rows["clean"] == rows["label"]).to_numpy(), rows["robust"].to_numpy().copy(),
        )  # fmt: skip


def test_what_the_tables_say_is_what_the_rows_give(results, folder):
    done = Recount(folder, counted(results)).run()
    assert done.faults == []
    lines = {
        name: len((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()) - 1
        for name in ("cells", "sets", "methods")
    }
    assert done.checked == 3 * lines["cells"] + 2 * lines["sets"] + 3 * lines["methods"]


@pytest.mark.parametrize("table", ["cells", "sets", "methods"])
@pytest.mark.parametrize("column", ["clean", "robust"])
def test_a_changed_number_is_named(results, folder, table, column):
    path = folder / f"{table}.csv"
    frame = csv_tables.loads(path.read_text(encoding="utf-8"))
    place = len(frame) // 2
    frame.loc[place, column] += 0.005
    path.write_text(csv_tables.dumps(frame), encoding="utf-8")
    (fault,) = Recount(folder, counted(results)).run().faults
    assert fault.startswith(f"{table}.csv: ") and f": {column} is " in fault
    assert frame.loc[place, "model"] in fault or frame.loc[place].get("id", "?") in fault


def test_a_verdict_that_differs_moves_cells_sets_and_means(results, folder):
    cells = list(counted(results))
    at = next(k for k, c in enumerate(cells) if c.dataset == "shape" and c.robust.any())
    cells[at].robust[cells[at].robust.argmax()] = False
    faults = Recount(folder, cells).run().faults
    assert {fault.split(":")[0] for fault in faults} == {"cells.csv", "sets.csv", "methods.csv"}


@pytest.mark.parametrize("table", ["cells", "sets", "methods"])
def test_lines_too_few_are_named(results, folder, table):
    path = folder / f"{table}.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), encoding="utf-8")
    faults = Recount(folder, counted(results)).run().faults
    assert sum(fault.startswith(f"{table}.csv: no line for ") for fault in faults) == 1


def test_lines_too_many_are_named(results, folder):
    fewer = [c for c in counted(results) if c.eps == "1/255"]
    assert any("of which there is no cell" in fault for fault in Recount(folder, fewer).run().faults)

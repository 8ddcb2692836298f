"""The fingerprint of code: what counts, what does not, and whose it is."""

import textwrap
from pathlib import Path

import pytest
import yaml
from conftest import MINI

from zsr import provenance
from zsr.errors import ZsrError
from zsr.plan import Plan
from zsr.registry import ROOT


@pytest.fixture
def tree(tmp_path: Path):
    """A small project: a script that imports a library, which has a neighbour that nobody imports."""

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    write("workflow/__init__.py", "")
    write("workflow/job.py", "import numpy\nfrom zsr.loss import loss\n")
    write("zsr/__init__.py", "")
    write("zsr/loss.py", '"""Loss."""\nfrom . import words\n\n\ndef loss(x):\n    return 2 * x  # twice\n')
    write("zsr/words.py", 'WORDS = "words.txt"\n')
    write("zsr/words.txt", "red\n")
    write("zsr/other.py", "x = 1\n")
    return write, lambda: provenance.fingerprint(["workflow/job.py"], tmp_path)


@pytest.fixture(autouse=True)
def fresh():
    provenance.forget()
    yield
    provenance.forget()


def test_closure_holds_what_is_imported_and_named_and_nothing_else(tree):
    _, fingerprint = tree
    assert sorted(fingerprint().files) == [
        "workflow/job.py", "zsr/__init__.py", "zsr/loss.py", "zsr/words.py", "zsr/words.txt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '"""Another docstring."""\nfrom . import words\n\n\ndef loss(x):\n    return 2 * x\n',
        "from . import words\ndef loss(x):\n\n    'and here'\n    return (2 *\n            x)  # thrice?\n",
    ],
)
def test_comments_docstrings_and_format_do_not_count(tree, text):
    write, fingerprint = tree
    before = fingerprint().digest
    provenance.forget()
    write("zsr/loss.py", text)
    assert fingerprint().digest == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("zsr/loss.py", "from . import words\n\n\ndef loss(x):\n    return 3 * x\n"),
        ("zsr/words.txt", "blue\n"),
        ("zsr/__init__.py", "x = 2\n"),
        ("workflow/job.py", "from zsr.loss import loss\nloss(1)\n"),
    ],
)
def test_a_change_of_meaning_counts(tree, name, text):
    write, fingerprint = tree
    before = fingerprint()
    provenance.forget()
    write(name, text)
    after = fingerprint()
    assert after.digest != before.digest
    assert {path for path in after.files if after.files[path] != before.files.get(path)} == {name}


def test_a_file_that_nobody_imports_does_not_count(tree):
    write, fingerprint = tree
    before = fingerprint().digest
    provenance.forget()
    write("zsr/other.py", "x = 2\n")
    assert fingerprint().digest == before


def test_only_the_named_method_and_attack_are_followed():
    files = provenance.fingerprint(["workflow/scripts/evaluate.py", "zsr/attacks/pgd.py", "zsr/methods/clip.py"]).files
    assert "zsr/attacks/engine.py" in files
    assert "zsr_kernels/reference.py" in files
    others = {
        "zsr/methods/tecoa.py",
        "zsr/methods/ce.py",
        "zsr/train.py",
        "zsr/attacks/square.py",
        "zsr/report/page.py",
    }
    assert not others & set(files)


def test_a_method_without_attack_does_not_depend_on_the_kernels():
    files = provenance.fingerprint(["workflow/scripts/finetune.py", "zsr/methods/ce.py"]).files
    assert "zsr/train.py" in files
    assert not [path for path in files if path.startswith(("zsr_kernels", "zsr/attacks"))]


def test_stages_of_the_report_are_apart():
    tables = provenance.fingerprint(["workflow/scripts/tables.py", "zsr/report/tables.py"]).files
    figures = provenance.fingerprint(["workflow/scripts/figures.py", "zsr/report/figures.py"]).files
    assert not {"zsr/report/page.py", "zsr/report/figures.py"} & set(tables)
    assert "zsr/report/page.py" not in figures


def test_numbers_of_others_count_where_they_are_read():
    plan = Plan(yaml.safe_load(MINI.read_text(encoding="utf-8")))
    tables, report, figures = (
        {path for path in provenance.fingerprint(job.spec["code"]["roots"]).files if path.startswith("resources/")}
        for job in (plan.tables, plan.report, plan.figures)
    )
    assert tables == {"resources/published.csv", "resources/zeroshot.csv"}
    assert report == {"resources/published.csv"} and not figures


def test_a_corrected_number_counts(tree):
    write, fingerprint = tree
    write(
        "zsr/words.py", 'from pathlib import Path\n\nFILE = Path(__file__).parents[1] / "resources" / "numbers.csv"\n'
    )
    write("resources/numbers.csv", "1.0\n")
    before = fingerprint()
    assert "resources/numbers.csv" in before.files
    provenance.forget()
    write("resources/numbers.csv", "1.5\n")
    assert fingerprint().digest != before.digest


def test_a_missing_root_and_a_syntax_error_are_named(tree, tmp_path):
    write, fingerprint = tree
    write("zsr/loss.py", "def loss(:\n")
    with pytest.raises(ZsrError, match=r"loss\.py:1"):
        fingerprint()
    with pytest.raises(ZsrError, match="absent"):
        provenance.fingerprint(["workflow/absent.py"], tmp_path)


def test_environments_pin_what_the_lock_pins():
    lock = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.split(";")[0].strip().partition("==")
            lock[name.lower().replace("_", "-")] = version
    for path in (ROOT / "envs").glob("*.yaml"):
        pins = provenance.pins(path.stem)
        assert "pyyaml" in pins, f"{path.name}: every job reads YAML"
        for name, version in pins.items():
            if name not in ("python", "pip"):
                assert lock[name.lower().replace("_", "-")] == version, f"{path.name}: {name}"

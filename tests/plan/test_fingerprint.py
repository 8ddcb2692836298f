"""The fingerprint of code: what counts, what does not, and whose it is."""

import textwrap
from pathlib import Path

import pytest
import yaml
from support.project import MINI, refused

from zsr.errors import ZsrError
from zsr.plan import environments
from zsr.plan import fingerprint as fingerprints
from zsr.plan.plan import Plan
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
    return write, lambda: fingerprints.fingerprint(["workflow/job.py"], tmp_path)


@pytest.fixture(autouse=True)
def fresh():
    fingerprints.forget()
    yield
    fingerprints.forget()


def test_closure_holds_what_is_imported_and_named_and_nothing_else(tree):
    _, fingerprint = tree
    assert sorted(fingerprint().files) == [
        "workflow/__init__.py", "workflow/job.py", "zsr/__init__.py", "zsr/loss.py", "zsr/words.py", "zsr/words.txt",
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
    fingerprints.forget()
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
    fingerprints.forget()
    write(name, text)
    after = fingerprint()
    assert after.digest != before.digest
    assert {path for path in after.files if after.files[path] != before.files.get(path)} == {name}


def test_a_file_that_nobody_imports_does_not_count(tree):
    write, fingerprint = tree
    before = fingerprint().digest
    fingerprints.forget()
    write("zsr/other.py", "x = 2\n")
    assert fingerprint().digest == before


def test_only_the_named_method_and_attack_are_followed():
    files = fingerprints.fingerprint(
        ["workflow/scripts/evaluate.py", "zsr/attacks/pgd.py", "zsr/methods/clip.py"]
    ).files
    assert "zsr/attacks/core/engine.py" in files
    assert "zsr_kernels/reference.py" in files
    others = {
        "zsr/methods/tecoa.py",
        "zsr/methods/ce.py",
        "zsr/training/fine_tune.py",
        "zsr/attacks/square.py",
        "zsr/report/page/build.py",
    }
    assert not others & set(files)


def test_a_method_without_attack_does_not_depend_on_the_kernels():
    files = fingerprints.fingerprint(["workflow/scripts/finetune.py", "zsr/methods/ce.py"]).files
    assert "zsr/training/fine_tune.py" in files
    assert not [path for path in files if path.startswith(("zsr_kernels", "zsr/attacks"))]


def test_stages_of_the_report_are_apart():
    tables = fingerprints.fingerprint(["workflow/scripts/tables.py", "zsr/report/tables/build.py"]).files
    figures = fingerprints.fingerprint(["workflow/scripts/figures.py", "zsr/report/figures/build.py"]).files
    assert not {"zsr/report/page/build.py", "zsr/report/figures/build.py"} & set(tables)
    assert "zsr/report/page/build.py" not in figures


def test_numbers_of_others_count_where_they_are_read():
    plan = Plan(yaml.safe_load(MINI.read_text(encoding="utf-8")))
    tables, report, figures = (
        {path for path in fingerprints.fingerprint(job.spec["code"]["roots"]).files if path.startswith("resources/")}
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
    fingerprints.forget()
    write("resources/numbers.csv", "1.5\n")
    assert fingerprint().digest != before.digest


def test_a_missing_root_and_a_syntax_error_are_named(tree, tmp_path):
    write, fingerprint = tree
    write("zsr/loss.py", "def loss(:\n")
    with pytest.raises(ZsrError, match=r"loss\.py:1"):
        fingerprint()
    with pytest.raises(ZsrError, match="absent"):
        fingerprints.fingerprint(["workflow/absent.py"], tmp_path)


def test_environments_pin_what_the_lock_pins():
    lock = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.split(";")[0].strip().partition("==")
            lock[name.lower().replace("_", "-")] = version
    for path in (ROOT / "envs").glob("*.yaml"):
        pins = environments.pins(path.stem)
        assert "pyyaml" in pins, f"{path.name}: every job reads YAML"
        for name, version in pins.items():
            if name not in ("python", "pip"):
                assert lock[name.lower().replace("_", "-")] == version, f"{path.name}: {name}"


FOLLOWED = {
    "a helper at the checkout's root": ("import helper\n", "helper.py"),
    "a package at the checkout's root": ("from tools import more\n", "tools/more.py"),
    "its __init__.py": ("from tools import more\n", "tools/__init__.py"),
    "import_module with an absolute name": ("import importlib\nimportlib.import_module('zsr.late')\n", "zsr/late.py"),
    "import_module with a relative name": (
        "from importlib import import_module\nimport_module('.late', __package__)\n", "zsr/late.py",
    ),
    "import_module relative to a named package": (
        "import importlib\nimportlib.import_module('.more', package='tools')\n", "tools/more.py",
    ),
    "__import__": ("__import__('zsr.late')\n", "zsr/late.py"),
    "another component by name": (
        "from zsr import registry\nregistry.load('methods', 'late-one')\n", "zsr/methods/late_one.py",
    ),
    "else of TYPE_CHECKING": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    from zsr import late\n",
        "zsr/late.py",
    ),
    "else of typing.TYPE_CHECKING": (
        "import typing\nif typing.TYPE_CHECKING:\n    import a\nelse:\n    from zsr import late\n", "zsr/late.py",
    ),
    "a star through __all__": ("from tools import *\n", "tools/more.py"),
    "a file in a joined sub-folder": ("p = HERE / 'tables' / 'a.csv'\n", "zsr/tables/a.csv"),
    "a file by joinpath": ("p = HERE.joinpath('tables', 'a.csv')\n", "zsr/tables/a.csv"),
    "a file without an extension": ("p = HERE / 'LEXICON'\n", "zsr/LEXICON"),
    "a file of another package": ("p = 'zsr/methods/list.txt'\n", "zsr/methods/list.txt"),
    "declared files": ("reads = ('tables/*.csv',)\n", "zsr/tables/a.csv"),
    "declared from the checkout": ("class A:\n    reads = ('resources/b.bin',)\n", "resources/b.bin"),
}  # fmt: skip


@pytest.fixture
def wide(tree):
    """The small project with everything that a module could reach."""
    write, fingerprint = tree
    write("helper.py", "x = 1\n")
    write("tools/__init__.py", "__all__ = ['more']\n")
    write("tools/more.py", "x = 1\n")
    write("zsr/late.py", "x = 1\n")
    write("zsr/methods/late_one.py", "x = 1\n")
    write("zsr/methods/list.txt", "1\n")
    write("zsr/tables/a.csv", "1\n")
    write("zsr/LEXICON", "1\n")
    write("resources/b.bin", "1\n")
    return write, fingerprint


@pytest.mark.parametrize(("code", "name"), FOLLOWED.values(), ids=FOLLOWED)
def test_what_can_be_followed_is(wide, code, name):
    write, fingerprint = wide
    assert name not in fingerprint().files
    write("zsr/loss.py", code)
    fingerprints.forget()
    before = fingerprint()
    assert name in before.files
    write(name, "x = 2\n" if name.endswith(".py") else "2\n")
    fingerprints.forget()
    assert fingerprint().digest != before.digest


def test_under_type_checking_nothing_is_followed(wide):
    write, fingerprint = wide
    write("zsr/loss.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from zsr import late\n")
    assert "zsr/late.py" not in fingerprint().files


def test_a_declared_file_must_exist(wide):
    write, fingerprint = wide
    write("zsr/loss.py", "reads = ('absent/*.csv',)\n")
    with refused("absent"):
        fingerprint()


@pytest.mark.parametrize(
    "reading", ["print(__doc__)", "loss.__doc__", "getattr(loss, '__doc__')", "import inspect\ninspect.getdoc(loss)"]
)
def test_docstrings_count_where_a_module_reads_them(tree, reading):
    write, fingerprint = tree
    write("workflow/job.py", f"from zsr.loss import loss\n{reading}\n")
    before = fingerprint().digest
    write("zsr/loss.py", '"""Other words."""\nfrom . import words\n\n\ndef loss(x):\n    return 2 * x\n')
    fingerprints.forget()
    assert fingerprint().digest != before


@pytest.mark.parametrize("name", ["workflow/__init__.py", "zsr/__init__.py", "zsr/parts/__init__.py"])
def test_the_packages_of_an_entry_point_count(tree, tmp_path, name):
    write, _ = tree
    write("zsr/parts/__init__.py", "")
    write("zsr/parts/one.py", "")
    files = fingerprints.fingerprint(["workflow/job.py", "zsr/parts/one.py"], tmp_path).files
    assert name in files


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("zsr/words.txt", b"red\nblue\n", b"red\r\nblue\r\n"),
        ("zsr/words.txt", b"red\n", b"\xef\xbb\xbfred\n"),
        ("zsr/words.py", b'WORDS = "words.txt"\n', b'\xef\xbb\xbfWORDS = "words.txt"\n'),
        ("zsr/words.py", b'WORDS = "words.txt"\n', b'WORDS = "words.txt"\r\n'),
    ],
    ids=["CRLF in a table", "BOM in a table", "BOM in a source", "CRLF in a source"],
)
def test_how_an_editor_saves_does_not_count(tree, tmp_path, name, before, after):
    _, fingerprint = tree
    (tmp_path / name).write_bytes(before)
    first = fingerprint().digest
    (tmp_path / name).write_bytes(after)
    fingerprints.forget()
    assert fingerprint().digest == first


def test_on_a_cpu_the_triton_files_do_not_count():
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    for device, found in (("cpu", False), ("cuda", True)):
        plan = Plan({**config, "device": device})
        cell = {key: value for key, value in plan.cells[0].spec["code"].items() if key != "digest"}
        files = fingerprints.fingerprint(**cell).files
        assert ("zsr_kernels/cuda/linf_step.py" in files) == found, device


def test_settings_that_cannot_matter_are_in_no_spec():
    """ε and steps of the inner attack of a method that never attacks; `auto` and `reference` kernels on a CPU."""
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    other = {**config, "kernels": "reference"}
    other["models"] = [
        {**m, "eps": "2/255", "recipe": {"attack_steps": 9}} if m["name"] == "ce" else m for m in config["models"]
    ]
    one, two = Plan(config), Plan(other)
    assert {job.record: job.hash for job in one.jobs.values() if job.rule in ("finetune", "evaluate")} == {
        job.record: job.hash for job in two.jobs.values() if job.rule in ("finetune", "evaluate")
    }

"""A job that uses files of the project outside its fingerprint, or other code than its spec names, lands nothing."""

import json
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from support.project import MINI, ROOT, Project, copy_project

PLAN = """
import json
from pathlib import Path
from zsr.config.text import read
from zsr.plan.plan import Plan
plan = Plan(read(Path("config.yaml")))
job = plan.upstream.prepare("drawn-colour", "test")
print(json.dumps([job.text, job.outputs]))
"""
READER = "zsr/data/readers/drawn.py"
DRAWING = "zsr/data/drawing/canvas.py"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Project:
    """A copy of the project, whose drawn reader each test extends."""
    made = copy_project(tmp_path_factory.mktemp("guard") / "project")
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    made.configure(config)
    return made


@pytest.fixture
def job(checkout: Project):
    """Run the preparation of a drawn set after the reader was extended: (exit code, what it said)."""
    before = checkout.path(READER).read_bytes()
    made: list[Path] = []

    def write(name: str, content: str | bytes) -> Path:
        path = checkout.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        made.append(path)
        return path

    def run(code: str, env: dict | None = None, between=lambda: None) -> tuple[int, str]:
        checkout.path(READER).write_bytes(before + f"\n\n{code}\n".encode())
        spec, outputs = planned(checkout)
        between()
        return launch(checkout, spec, outputs, env)

    yield write, run
    checkout.path(READER).write_bytes(before)
    for path in made:
        path.unlink()


def planned(checkout: Project) -> tuple[str, dict[str, str]]:
    """The spec and the outputs of the job, by the code of the copy."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PLAN], cwd=checkout.folder, check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(checkout.folder)},
    )  # fmt: skip
    text, outputs = json.loads(done.stdout)
    return text, outputs


def launch(checkout: Project, spec: str, outputs: dict[str, str], env: dict | None = None) -> tuple[int, str]:
    """What the rule's shell line starts."""
    files = [f"{name}=results/{path}" for name, path in outputs.items()]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "workflow.scripts.prepare", "--spec", spec, "--output", *files],
        cwd=checkout.folder, env={**os.environ, "PYTHONPATH": str(checkout.folder), **(env or {})},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout


def assert_refused(result: tuple[int, str], *words: str) -> None:
    code, said = result
    assert code == 1, said
    (line,) = [line for line in said.splitlines() if line.startswith("zsr: ")]
    assert all(word in line for word in words), line
    assert "Traceback" not in said


def test_a_job_that_uses_what_it_names_lands(job):
    _, run = job
    code, said = run("NUMBER = 3")
    assert code == 0, said


UNSEEN = {
    "with_suffix": "Path(__file__).with_suffix('.bin').read_bytes()",
    "an f-string": "(Path(__file__).parent / f\"table-{1}.csv\").read_text(encoding='utf-8')",
    "a search of a folder": "[p.read_bytes() for p in Path(__file__).parent.glob('table-*')]",
    "another package's folder": "Path(__file__).parents[2].joinpath(*['methods', 'prior.txt']).read_bytes()",
    "the working directory": "open('prior' + '.txt', 'rb').read()",
    "os.open": "os.read(os.open('prior' + '.txt', os.O_RDONLY), 9)",
    "numpy": "__import__('numpy').fromfile('prior' + '.txt', 'u1')",
    "safetensors": "__import__('safetensors').safe_open('prior' + '.txt', 'np')",
    "Parquet": "__import__('pyarrow.parquet').parquet.read_table('prior' + '.txt')",
    "a Parquet file": "__import__('pyarrow.parquet').parquet.ParquetFile('prior' + '.txt')",
    "the source of another component": "Path(__file__).with_name('ci' + 'far.py').read_bytes()",
}


@pytest.mark.slow
@pytest.mark.parametrize("reading", UNSEEN.values(), ids=UNSEEN)
def test_a_file_that_the_fingerprint_does_not_count_fails_the_job(job, reading):
    write, run = job
    for name in ("zsr/data/readers/drawn.bin", "zsr/data/readers/table-1.csv", "zsr/methods/prior.txt", "prior.txt"):
        write(name, "1\n")
    result = run(f"import os\nfrom pathlib import Path\nPRIOR = {reading}")
    assert_refused(result, "this job reads it", "reads = (…)")


def test_a_declared_file_is_read(job):
    write, run = job
    write("zsr/data/readers/table-1.csv", "1\n")
    declared = 'reads = ("table-*.csv",)\nfrom pathlib import Path\n'
    code, said = run(declared + 'PRIOR = open(Path(__file__).parent / f"table-{1}.csv").read()')
    assert code == 0, said


@pytest.mark.parametrize(
    "importing",
    ["importlib.import_module('zsr.checks.' + 'changed_files')", "importlib.import_module('hel' + 'per')"],
    ids=["a module of the library", "a module at the checkout's root"],
)
def test_a_module_that_the_fingerprint_does_not_count_fails_the_job(job, importing):
    write, run = job
    write("helper.py", "X = 1\n")
    assert_refused(run(f"import importlib\nMODULE = {importing}"), "this job imports it", "literal name")


@pytest.mark.slow
@pytest.mark.parametrize(
    "reading",
    [
        "os.environ.get('SHARPNESS')",
        "os.getenv('SHARPNESS', '1')",
        "'SHARPNESS' in os.environ",
        "os.environ['SHARPNESS']",
    ],
)
def test_a_variable_that_no_spec_holds_fails_the_job(job, reading):
    _, run = job
    assert_refused(run(f"import os\nSHARP = {reading}", env={"SHARPNESS": "2"}), "drawn.py:", "SHARPNESS", "a setting")


@pytest.mark.slow
def test_a_path_of_the_config_may_hold_variables(job):
    _, run = job
    code, said = run("from zsr.env_paths import expand\nPLACE = expand('$MINE/x')", env={"MINE": "/data"})
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["NVIDIA_TF32_OVERRIDE", "TRITON_INTERPRET"])
def test_a_variable_that_changes_numbers_is_refused(job, name):
    _, run = job
    assert_refused(run("X = 1", env={name: "1"}), name, "unset it")


@pytest.mark.slow
def test_code_that_was_edited_and_put_back_does_not_land(checkout, job):
    """The edit lies between the first check and the import, and is undone at once: no check sees it on the disk."""
    _, run = job
    module = checkout.path(DRAWING)
    whole = module.read_bytes()
    edit = f"""
import importlib
from pathlib import Path
path = Path({str(module)!r})
whole = path.read_bytes()
path.write_bytes(whole + b"EDITED = True\\n")
importlib.reload(importlib.import_module("zsr.data.drawing." + path.stem))
path.write_bytes(whole)
"""
    assert_refused(run(edit), "put back")
    assert module.read_bytes() == whole


@contextmanager
def stale_bytecode(path: Path, old: bytes) -> Iterator[None]:
    """Bytecode of an older source with the same size and time, as `cp -p` and constant-time images make it."""
    new, state = path.read_bytes(), path.stat()
    assert len(old) == len(new) and old != new
    for content in (old, new):
        path.write_bytes(content)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        if content is old:
            cached = Path(py_compile.compile(str(path), doraise=True))
    yield
    cached.unlink()


@pytest.mark.slow
def test_stale_bytecode_is_not_run(checkout, job):
    _, run = job
    path = checkout.path(DRAWING)
    with stale_bytecode(path, b"raise SystemExit('old bytecode ran')\n".ljust(len(path.read_bytes()), b"#")):
        code, said = run("X = 1")
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize(("name", "word"), [("zsr/errors.py", b"mistake"), ("workflow/scripts/__init__.py", b"entry")])
def test_stale_bytecode_of_what_is_loaded_first_is_refused(checkout, job, name, word):
    _, run = job
    path = checkout.path(name)
    with stale_bytecode(path, path.read_bytes().replace(word, word.upper())):
        assert_refused(run("X = 1"), "bytecode", "remove it")


@pytest.mark.slow
@pytest.mark.parametrize("inside", [True, False], ids=["in the checkout", "outside"])
def test_a_linked_file_counts_under_its_own_name(checkout, job, tmp_path, inside):
    _, run = job
    path = checkout.path(DRAWING)
    other = checkout.path("mine.py") if inside else tmp_path / "mine.py"
    other.write_bytes(path.read_bytes())
    whole = path.read_bytes()
    path.unlink()
    path.symlink_to(other)
    try:
        code, said = run("X = 1")
    finally:
        path.unlink()
        path.write_bytes(whole)
        other.unlink()
    assert code == 0, said


def test_an_installed_package_imports_as_usual(tmp_path):
    """Without a checkout around it nothing is compiled again."""
    shutil.copytree(ROOT / "zsr" / "guard", tmp_path / "zsr" / "guard")
    for name in ("__init__.py", "errors.py"):
        shutil.copy2(ROOT / "zsr" / name, tmp_path / "zsr")
    code = "import sys, zsr; from zsr.guard.from_source import Finder; print(Finder in sys.meta_path)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "False", done.stderr

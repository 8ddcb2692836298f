"""The command `zsr` called wrongly, or on damaged results: one line that names the option or the file, and the cure."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT

from zsr.checks.changed_files import changed_file
from zsr.cli import main, status
from zsr.plan.plan import Plan
from zsr.storage.records import seal

pytestmark = pytest.mark.slow

LONG = "n" * 5000


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory) -> Path:
    """Finished results and their config, without the project's sources."""
    place = tmp_path_factory.mktemp("calls")
    shutil.copy2(finished.path("config.yaml"), place)
    shutil.copytree(finished.path("results"), place / "results", copy_function=shutil.copy2)
    (place / "file").write_text("a file", encoding="utf-8")
    (place / "folder").mkdir()
    return place


@pytest.fixture
def calls(whole, monkeypatch) -> Path:
    """The folder of the calls, which they leave as it is."""
    monkeypatch.chdir(whole)
    return whole


@pytest.fixture
def copies(whole, tmp_path, monkeypatch) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(whole, tmp_path / "copy", copy_function=shutil.copy2)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def call(*arguments: str) -> int | str | None:
    """The status of a call, or its last line."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code


def mistake(*arguments: str) -> str:
    """The one line of a call that is refused."""
    line = call(*arguments)
    assert isinstance(line, str) and line.startswith("zsr: ") and len(line.splitlines()) == 1, line
    assert len(line) < 6000 + len(" ".join(arguments))
    return line


BAD = {
    # places to write to
    ("table", "--output", "none/t.md"): "--output none/t.md: there is no folder none; make it first",
    ("table", "--output", "folder"): "--output folder: it is a folder; name a file",
    ("table", "--output", "."): "--output .: it is a folder",
    ("table", "--output", ".."): "--output ..: it is a folder",
    ("table", "--output", "file/t.md"): "--output file/t.md: there is no folder file",
    ("table", "--output", LONG): "File name too long; name another place",
    ("table", "--output", "/dev/full"): "--output /dev/full: No space left on device; name another place",
    ("export", "results", "--to", "file"): "--to file: it is a file; name a folder",
    ("export", "results", "--to", "file/deeper"): "--to file/deeper: Not a directory",
    ("export", "results", "--to", LONG): "File name too long; name another place",
    ("export", "results", "--to", "/dev/full"): "--to /dev/full: it is a file",
    # names
    ("table", "--protocol", ""): "--protocol: unknown protocol ''",
    ("table", "--protocol", "mino"): "did you mean 'mini'?",
    ("table", "--backbone", ""): "--backbone: unknown backbone ''",
    ("table", "--backbone", "ε\n"): "--backbone: unknown backbone 'ε\\n'",
    ("table", "--attack", ""): "--attack: unknown attack ''",
    ("table", "--attack", "pgd\x1b[31m"): "unknown attack 'pgd\\x1b[31m'",
    ("export", "models", ""): "unknown model ''",
    ("export", "models", "rn.teco.s0"): "did you mean 'rn.tecoa.s0'?",
    ("export", "results", "nobody"): "export results: takes no names of models",
    ("export", "figures", "rn.clip"): "export figures: takes no names of models",
    ("why", "nothing"): "nothing: no result; name a file that is made in results, such as",
    ("why", "results/tables/sets.cvs"): "did you mean 'tables/sets.csv'?",
    ("why", LONG): "no result" if sys.platform == "win32" else "File name too long",
    ("why", "a\nb"): "a\\nb: no result",
    ("why", "."): ".: it is a folder; name a file in it",
    ("why", "results/eval"): "results/eval: it is a folder",
    ("why", "config.yaml"): "config.yaml: no job of this config makes it",
    ("--configfile", LONG, "status"): "File name too long",
    ("--configfile", "none.yaml", "status"): "none.yaml: no such config file",
    ("--configfile", "folder", "status"): "folder: ",
    ("--configfile", "file", "status"): "file: no mapping; a config is a mapping of keys",
    # numbers
    ("table", "--eps", ""): "--eps: ε '' is not a number",
    ("table", "--eps", "7/0"): "--eps: ε '7/0' is not a number; write it as 2/255 or 0.01",
    ("table", "--eps", "nan"): "--eps: ε 'nan' is not a number",
    ("table", "--eps", "inf"): "--eps: ε 'inf' is not a number",
    ("table", "--eps", "1/2/3"): "--eps: ε '1/2/3' is not a number",
    ("table", "--eps", "one"): "--eps: ε 'one' is not a number",
    ("table", "--eps", "-1/255"): "--eps: '-1/255' was not measured with worst case; there are 1/255, 4/255",
    ("table", "--eps=0"): "--eps: '0' was not measured",
    ("table", "--eps", "3/255"): "--eps: '3/255' was not measured",
    ("table", "--eps", "1e-400"): "--eps: '1e-400' was not measured",
    ("table", "--eps", "1e400"): "--eps: '1e400' was not measured",
    ("table", "--eps", "1e999999999"): "--eps: ε '1e999999999' is not a number",
    ("table", "--eps", "1e-999999999"): "--eps: ε '1e-999999999' is not a number",
}


def short(value: object) -> str:
    return repr(value)[:60]


@pytest.mark.parametrize("arguments", BAD, ids=short)
def test_a_bad_call_is_one_line(calls, arguments):
    if arguments[:2] == ("table", "--eps") and arguments[2:] == ("-1/255",):
        arguments, line = ("table", "--eps=-1/255"), BAD[arguments]
    else:
        line = BAD[arguments]
    assert line in mistake(*arguments)
    assert sorted(path.name for path in calls.iterdir()) == ["config.yaml", "file", "folder", "results"]


# what argparse refuses, with its usage
USAGE = {
    (): "required: command",
    ("stats",): "invalid choice: 'stats'",
    ("status", "--cores", "0"): "argument --cores: '0' is no whole number above 0",
    ("status", "--cores", "-3"): "argument --cores: '-3' is no whole number above 0",
    ("status", "--cores", "1.5"): "argument --cores: '1.5' is no whole number above 0",
    ("status", "--cores", ""): "argument --cores: '' is no whole number above 0",
    ("status", "--cores", "9" * 5000): "is no whole number above 0",
    ("status", "extra"): "unrecognized arguments: extra",
    ("data",): "required: action",
    ("data", "chek"): "invalid choice: 'chek'",
    ("table", "--format", "html"): "argument --format: invalid choice: 'html'",
    ("table", "--quantity", ""): "argument --quantity: invalid choice: ''",
    ("table", "--output", ""): "argument --output/-o: the name of a file is empty",
    ("table", "--output", "a\0b"): "argument --output/-o: no file can have a name with a NUL byte",
    ("table", "--eps"): "argument --eps: expected one argument",
    ("export",): "required: what",
    ("export", "pictures"): "invalid choice: 'pictures'",
    ("export", "results", "--to", ""): "argument --to: the name of a file is empty",
    ("export", "results", "--to", "a\0b"): "argument --to: no file can have a name with a NUL byte",
    ("why",): "required: file",
    ("why", ""): "argument file: the name of a file is empty",
    ("why", "a\0b"): "argument file: no file can have a name with a NUL byte",
    ("--configfile", "", "status"): "argument --configfile: the name of a file is empty",
    ("--configfile", "\0", "status"): "argument --configfile: no file can have a name with a NUL byte",
    ("verify", "--seal=1"): "argument --seals: ignored explicit argument '1'",
    ("repair", "all"): "unrecognized arguments: all",
}


@pytest.mark.parametrize("arguments", USAGE, ids=short)
def test_a_wrong_option_is_named_with_the_usage(calls, arguments, capsys):
    assert call(*arguments) == 2
    assert USAGE[arguments] in capsys.readouterr().err.splitlines()[-1]


def test_a_loop_of_links_is_one_line(copies):
    (copies / "loop").symlink_to("loop")
    assert "loop" in mistake("why", "loop/results")


@pytest.mark.parametrize("arguments", [("table", "--output", "folder/t.md"), ("export", "results", "--to", "folder")])
def test_a_folder_that_is_read_only(calls, arguments, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place).name != "folder")  # root may write everywhere
    assert f"{arguments[-2]} {arguments[-1]}: it cannot be written; mend the permissions" in mistake(*arguments)


@pytest.mark.parametrize(
    ("what", "room"), [("models rn.clip", 100), ("models rn.clip", 3000), ("robustbench", 100), ("results", 100)]
)
def test_an_export_to_a_full_disk_is_one_line(copies, what, room):
    """With room for the config of a model alone, its weights are what fails."""
    code = (
        "import resource, signal; from zsr.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); main({['export', *what.split(), '--to', 'out']})"
    )
    done = python(code, copies)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("zsr: "))
    assert "--to" in line and "out" in line and "name another" in line
    assert not [path for path in (copies / "out").rglob("*") if path.suffix in (".tmp", ".safetensors")]


def python(code: str, folder: Path, **streams) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, text=True, **{"stderr": subprocess.PIPE} | streams
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["status"], ["status", "--missing"], ["table"], ["why", "results/report.html"]])
def test_an_output_that_is_full_is_one_line(calls, arguments):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = python(f"from zsr.cli import main; main({arguments})", calls, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "zsr: the output: No space left on device; free space or mend the permissions\n"


def test_a_reader_that_goes_is_no_mistake(calls):
    read, write = os.pipe()
    os.close(read)
    done = python("from zsr.cli import main; main(['status'])", calls, stdout=write)
    os.close(write)
    assert done.returncode == 0 and done.stderr == ""


def test_an_output_that_is_closed_is_no_mistake(calls):
    done = python(
        "import os; os.close(1)\nimport sys; sys.stdout = None\nfrom zsr.cli import main; main(['status'])", calls
    )
    assert done.returncode == 0 and done.stderr == ""


def sealed(path: Path, change) -> None:
    """Another content of a record under a seal that is right."""
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    record["seal"] = seal(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def put(text: str | bytes):
    """A record whose whole text is another."""
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


def without(key: str):
    return lambda path: sealed(path, lambda record: record.pop(key))


def having(key: str, value: object):
    return lambda path: sealed(path, lambda record: record.update({key: value}))


MALFORMED = {
    "empty": put(""),
    "list": put("[]"),
    "pairs": put('[["spec_hash", "a"], ["seal", "b"]]'),
    "number": put("7"),
    "text": put('"record"'),
    "null": put("null"),
    "not UTF-8": put(b"\xff\xfe{}"),
    "deep": put("[" * 100_000 + "]" * 100_000),
    "deep mapping": put('{"a":' * 100_000 + "1" + "}" * 100_000),
    "huge number": put('{"seal": ' + "9" * 5000 + "}"),
    "no seal": put('{"spec_hash": "a"}'),
    "no spec": without("spec"),
    "no digests": without("digests"),
    "no seconds": without("seconds"),
    "no versions": without("versions"),
    "no files": without("code_files"),
    "no hash": without("spec_hash"),
    "digests: list": having("digests", []),
    "digests: null": having("digests", None),
    "digests: numbers": having("digests", {"rows": 1, "examples": 2}),
    "digests: none": having("digests", {}),
    "digests: others": having("digests", {"weights": "0" * 64}),
    "seconds: text": having("seconds", "1.5"),
    "seconds: NaN": having("seconds", float("nan")),
    "spec: list": having("spec", []),
    "hash: list": having("spec_hash", ["a"]),
}
CELL = "results/eval/mini/rn.clip/drawn-colour/pgd/eps-1_255.json"


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_record_is_named_and_cured(calls, kind, capsys):
    """`verify` goes on behind it, `status` does not count it as done, `why` says it, `repair` removes it."""
    record = calls / CELL
    files = {path: path.read_bytes() for path in record.parent.glob("eps-1_255.*")}
    try:
        MALFORMED[kind](record)
        assert call("verify", "--seals") == 1
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith(f"{CELL}: ") and "run `zsr repair` to remove it" in said[0]
        assert all("made of other" in line for line in said[1:-1])  # what was made of it, where digests are others
        assert f"{len(said) - 1} wrong" in said[-1]
        assert call("why", CELL) == 0
        assert capsys.readouterr().out.splitlines()[1].strip() == said[0]
        assert call("repair") == 0
        assert (
            not record.exists() and "removed evaluate mini rn.clip drawn-colour pgd 1_255: " in capsys.readouterr().out
        )
        assert call("repair") == 0
        assert capsys.readouterr().out == "0 results removed\n"
    finally:
        for path, content in files.items():
            path.write_bytes(content)


@pytest.mark.parametrize("spec", [{}, {"code": 3, "environment": {}, "needs": {}}])
def test_why_of_a_spec_that_is_none(calls, spec, capsys):
    record = calls / CELL
    before = record.read_bytes()
    try:
        sealed(record, lambda made: made.update(spec=spec, spec_hash="another"))
        assert call("why", CELL) == 0
        assert f"{CELL}: its spec is none of zsr's; run `zsr repair`" in capsys.readouterr().out
    finally:
        record.write_bytes(before)


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_record_of_a_preparation_does_not_stop_the_plan(calls, kind, mini):
    """Snakemake asks each preparation what it read, before any job runs."""
    plan = Plan(mini)
    job = next(job for job in plan.jobs.values() if job.rule == "prepare")
    path = plan.results / job.record
    before = path.read_bytes()
    try:
        MALFORMED[kind](path)
        assert changed_file(plan, job) is None
    finally:
        path.write_bytes(before)


def test_ctrl_c_is_one_line(calls, monkeypatch):
    def stopped(given):
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "run", stopped)
    assert mistake("status") == "zsr: stopped by a signal"


@pytest.mark.parametrize("kind", ["list", "no digests", "deep"])
@pytest.mark.parametrize("name", ["tables/manifest.json", "backbones/rn/manifest.json"])
def test_a_malformed_record_that_a_command_reads_is_one_line(calls, name, kind):
    path = calls / "results" / name
    before = path.read_bytes()
    try:
        MALFORMED[kind](path)
        command = ("table",) if name.startswith("tables") else ("export", "models", "rn.clip", "--to", "folder")
        line = mistake(*command)
        assert f"results/{name}: not a record of zsr" in line and "zsr repair" in line
    finally:
        path.write_bytes(before)


def test_a_cell_whose_numbers_are_gone_does_not_end_verify(copies, capsys):
    sealed(copies / CELL, lambda record: record.pop("n"))
    assert call("verify") == 1
    out = capsys.readouterr().out
    assert f"{CELL}: not a record of zsr, it has no 'n'" in out and "tables not recounted" in out


@pytest.mark.parametrize(
    "job", ["pretrain", "finetune", "prepare", "heads", "evaluate", "tables", "figures", "gallery", "report"]
)
def test_status_misses_every_file(calls, job, mini, capsys):
    plan = Plan(mini)
    for path in next(found for found in plan.jobs.values() if found.rule == job).outputs.values():
        there, away = plan.results / path, calls / "folder" / "away"
        there.rename(away)
        try:
            assert call("status") == 0
            said = capsys.readouterr().out
            assert "everything is done" not in said and f"1 of {len(plan.jobs)} jobs left" in said, path
        finally:
            away.rename(there)
    assert call("status") == 0
    assert "everything is done" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_no_damage(copies, capsys, monkeypatch):
    """A disk that fails, or a permission: `verify` names it, `repair` does not remove what may be right."""
    weights = copies / "results/backbones/rn/weights.safetensors"
    real = Path.open

    def failing(path: Path, *arguments, **options):
        if path.resolve() == weights:
            raise OSError(5, "Input/output error", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", failing)
    assert call("verify", "--seals") == 1
    assert "rn/weights.safetensors: Input/output error; mend" in capsys.readouterr().out
    assert call("repair") == 1
    assert "left pretrain rn: " in capsys.readouterr().out and weights.exists()

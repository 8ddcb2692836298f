"""The command `zsr` on damaged results: one line that names the file, and the cure."""

import json
from pathlib import Path

import pytest
from support.cli_calls import call, mistake

from zsr.checks.changed_files import changed_file
from zsr.plan.plan import Plan
from zsr.storage.records import seal

pytestmark = pytest.mark.slow


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

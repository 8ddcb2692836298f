"""`zsr data check`, before anything starts."""

import pytest
from support import archives

from zsr import cli
from zsr.checks import required_files
from zsr.plan.plan import Plan


@pytest.fixture
def wanted(mini: dict, tmp_path, monkeypatch) -> dict:
    """The miniature config on EuroSAT and CIFAR-10."""
    monkeypatch.chdir(tmp_path)
    mini["protocols"][0]["datasets"] = ["eurosat", "cifar10"]
    mini["protocols"][0]["transform"] = "224"
    return mini


def check(raw: dict, capsys, *more: str) -> tuple[int, str]:
    import yaml

    with open("config.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(raw, file)
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "check", *more])
    return ended.value.code, capsys.readouterr().out


def test_missing_present_and_damaged(wanted, root, capsys):
    code, said = check(wanted, capsys)
    assert code == 1 and "2 files: 0 present, 0 unpacked, 2 missing, 0 damaged" in said
    assert "write `download: true`" in said and "prepared images: 5.6 GB to be written" in said
    archives.eurosat(root)  # a miniature: not the official bytes
    (root / "cifar10/cifar-10-batches-py").mkdir(parents=True)
    code, said = check(wanted, capsys)
    assert code == 1 and "0 present, 1 unpacked, 0 missing, 1 damaged" in said
    assert "EuroSAT.zip: cut short" in said
    code, said = check({**wanted, "download": True}, capsys)
    assert code == 1


def test_what_will_be_fetched_is_no_fault(wanted, root, capsys):
    code, said = check({**wanted, "download": True}, capsys)
    assert code == 0 and said.count("to fetch") == 2 and "archives: 264.8 MB to be written" not in said
    assert "archives: 0.3 GB to be written" in said


def test_a_disk_that_will_not_suffice(wanted, root, capsys, monkeypatch):
    monkeypatch.setattr(required_files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9})())
    code, said = check(wanted, capsys)
    assert code == 1 and "prepared images and archives need 5.6 GB, 1.0 GB are free; make room" in said


def test_a_config_without_archives_needs_nothing(mini, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Plan(mini)
    assert required_files.preparations(plan) == [] and required_files.shortages(required_files.room(plan)) == []

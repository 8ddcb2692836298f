"""`device: auto`: decided once on the machine that plans, and never in a spec; no GPU is needed to try it."""

import ctypes
from types import SimpleNamespace

import pytest
from conftest import refused

from zsr import device
from zsr.plan import Plan


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    for name in (device.VARIABLE, "ZSR_GPUS"):
        monkeypatch.delenv(name, raising=False)
    device.cards.cache_clear()
    yield
    device.cards.cache_clear()


def pretend(monkeypatch, cards: int = 0, error: int = 0, driver: bool = True, torch: str = "2.11.0+cu130") -> None:
    """A driver that shows so many cards, answers with an error, or is not installed."""

    def count(pointer) -> int:
        pointer._obj.value = cards
        return 0

    def load(name: str) -> SimpleNamespace:
        if not driver:
            raise OSError(f"{name}: cannot open shared object file")
        return SimpleNamespace(cuInit=lambda flags: error, cuDeviceGetCount=count)

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(device, "version", lambda name: torch)


@pytest.mark.parametrize(
    "machine, wanted",
    [
        ({"cards": 1}, "cuda"),
        ({"cards": 8}, "cuda"),
        ({"cards": 0}, "cpu"),
        ({"driver": False}, "cpu"),
        ({"cards": 1, "error": device.NO_DEVICE}, "cpu"),
        ({"cards": 1, "error": 803}, "cpu"),
        ({"cards": 1, "torch": "2.11.0+cpu"}, "cpu"),
    ],
)
def test_auto_is_the_card_that_the_driver_shows(machine, wanted, monkeypatch, capsys):
    pretend(monkeypatch, **machine)
    assert device.settled({"device": "auto", "seed": 1}) == {"device": wanted, "seed": 1}
    broken = machine.get("error", 0) not in (0, device.NO_DEVICE)
    assert ("error 803" in capsys.readouterr().err) == broken, "a driver that does not work is worth a line"


def test_no_card_is_looked_for_where_none_may_be_used(monkeypatch):
    pretend(monkeypatch, cards=1)
    monkeypatch.setenv("ZSR_GPUS", "")
    assert device.automatic() == "cpu"


def test_the_variable_decides(monkeypatch):
    pretend(monkeypatch, cards=1)
    monkeypatch.setenv(device.VARIABLE, "cpu")
    assert device.automatic() == "cpu"
    monkeypatch.setenv(device.VARIABLE, "gpu")
    with refused("ZSR_DEVICE: unknown device 'gpu'; did you mean 'cpu'?"):
        device.automatic()


def test_other_devices_stay_as_they_are():
    for raw in ({}, {"device": "cpu"}, {"device": "cuda"}, {"device": 3}):
        assert device.settled(raw) is raw


@pytest.mark.parametrize("decided", device.DEVICES)
def test_a_spec_names_the_device_and_never_auto(mini, decided, monkeypatch):
    """The plan of `auto` is that of the device it came to, so that two machines have other specs for other devices."""
    monkeypatch.setenv(device.VARIABLE, decided)
    of_auto, named = Plan({**mini, "device": "auto"}), Plan({**mini, "device": decided})
    assert {key: job.hash for key, job in of_auto.jobs.items()} == {key: job.hash for key, job in named.jobs.items()}
    assert {job.spec["device"] for job in of_auto.jobs.values() if "device" in job.spec} == {decided}
    assert not any("auto" in str(job.spec.get("device", "")) for job in of_auto.jobs.values())


def test_the_jobs_that_plan_again_plan_the_same(mini, monkeypatch):
    """Tables, figures, gallery and report make the plan from their spec's config, maybe on a machine without a card."""
    monkeypatch.setenv(device.VARIABLE, "cuda")
    first = Plan({**mini, "device": "auto"})
    monkeypatch.setenv(device.VARIABLE, "cpu")
    again = Plan({**first.tables.spec["config"], "results": str(first.results)})
    assert again.tables.hash == first.tables.hash


def test_two_machines_share_no_number(mini, monkeypatch):
    plans = {}
    for decided in device.DEVICES:
        monkeypatch.setenv(device.VARIABLE, decided)
        plans[decided] = Plan({**mini, "device": "auto"})
    for kind in ("pretrain", "finetune", "heads", "evaluate", "tables"):
        hashes = [{job.hash for job in plan.jobs.values() if job.rule == kind} for plan in plans.values()]
        assert hashes[0] and not hashes[0] & hashes[1], kind


def test_jobs_on_other_machines_need_a_name():
    device.refuse_elsewhere({"device": "auto"}, here=True)
    device.refuse_elsewhere({"device": "cuda"}, here=False)
    with refused("the jobs run on others; write device: cuda"):
        device.refuse_elsewhere({"device": "auto"}, here=False)


def test_a_card_that_is_not_used_is_worth_a_line(monkeypatch):
    pretend(monkeypatch, cards=1)
    assert "docs/gpus.md" in device.idle_card("cpu")
    assert device.idle_card("cuda") == ""
    device.cards.cache_clear()
    pretend(monkeypatch, cards=0)
    assert device.idle_card("cpu") == ""


@pytest.mark.slow
def test_results_of_one_device_are_no_results_of_the_other(copy):
    """A results folder made on a CPU, opened with the same config where there is a card, and back."""
    copy.configure({**copy.config, "device": "auto"})
    text = copy.snakemake("-n", env={device.VARIABLE: "cpu"})
    assert "rule evaluate:" not in text and "rule finetune:" not in text, "the CPU's numbers are the CPU's"
    text = copy.snakemake("-n", env={device.VARIABLE: "cuda"})
    for rule in ("pretrain", "finetune", "heads", "evaluate"):
        assert f"rule {rule}:" in text, "and no card's"
    assert "gpu=1" in text

"""`device: auto`: resolved once on the machine that plans, never in a spec, and never a reason to replace results."""

import ctypes
import json
from types import SimpleNamespace

import pytest
from support.project import Project, refused

from zsr.config import device
from zsr.plan.plan import Plan

NOT_FOUND = OSError("libcuda.so.1: cannot open shared object file")
# what a process of its own sees in place of NVIDIA's driver
FAKE_DRIVER = """
import ctypes, os

class Driver:
    def cuInit(self, flags): return int(os.environ.get("FAKE_ERROR", "0"))
    def cuDeviceGetCount(self, pointer):
        pointer._obj.value = 1
        return 0

class CDLL(ctypes.CDLL):
    def __new__(cls, name, *rest, **more):
        return Driver() if name == "libcuda.so.1" else super().__new__(cls)

ctypes.CDLL = CDLL
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in (device.ZSR_DEVICE, "ZSR_GPUS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    device.count_gpus.cache_clear()
    yield
    device.count_gpus.cache_clear()


def fake_driver(monkeypatch, gpus: int = 0, error: int = 0, installed: bool = True, cuda_build: bool = True) -> None:
    def count(pointer) -> int:
        pointer._obj.value = gpus
        return 0

    def load(name: str) -> SimpleNamespace:
        if not installed:
            raise NOT_FOUND
        return SimpleNamespace(cuInit=lambda flags: error, cuDeviceGetCount=count)

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(device, "torch_has_cuda", lambda: cuda_build)


@pytest.mark.parametrize(
    "machine, wanted",
    [
        ({"gpus": 1}, "cuda"),
        ({"gpus": 8}, "cuda"),
        ({"gpus": 0}, "cpu"),
        ({"installed": False}, "cpu"),
        ({"gpus": 1, "error": device.NO_DEVICE}, "cpu"),
    ],
)
def test_auto_is_what_the_driver_shows(machine, wanted, monkeypatch):
    fake_driver(monkeypatch, **machine)
    assert device.resolve_auto({"device": "auto", "seed": 1}) == {"device": wanted, "seed": 1}


def test_a_broken_driver_is_an_error_and_not_a_cpu(monkeypatch):
    """After an update of the driver, `auto` would otherwise replace all results of the GPU by the CPU's."""
    fake_driver(monkeypatch, gpus=1, error=803)
    with refused("NVIDIA's driver fails with error 803; repair it, or write device: cpu"):
        device.detected_device()
    assert device.unused_gpu_warning("cpu") == ""


def test_a_cpu_build_of_torch_uses_no_gpu_and_says_so(monkeypatch, capsys):
    fake_driver(monkeypatch, gpus=1, cuda_build=False)
    assert device.detected_device() == "cpu"
    assert "torch is a CPU build" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line, wanted", [("cuda: Optional[str] = '13.0'", True), ("cuda: Optional[str] = None", False)]
)
def test_torch_s_build_is_read_without_importing_it(line, wanted, tmp_path, monkeypatch):
    (tmp_path / "version.py").write_text(
        f"from typing import Optional\n__version__ = '2.11.0'\n{line}\n", encoding="utf-8"
    )
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: found)
    assert device.torch_has_cuda() == wanted


def test_torch_s_build_is_what_torch_says():
    import torch

    assert device.torch_has_cuda() == (torch.version.cuda is not None)


def test_no_gpu_is_looked_for_where_none_may_be_used(monkeypatch):
    fake_driver(monkeypatch, gpus=1)
    monkeypatch.setenv("ZSR_GPUS", "")
    assert device.detected_device() == "cpu"


def test_the_variable_decides(monkeypatch):
    fake_driver(monkeypatch, gpus=1)
    monkeypatch.setenv(device.ZSR_DEVICE, "cpu")
    assert device.detected_device() == "cpu"
    assert device.unused_gpu_warning("cpu") == "", "it was asked for"
    monkeypatch.setenv(device.ZSR_DEVICE, "gpu")
    with refused("ZSR_DEVICE: unknown device 'gpu'; did you mean 'cpu'?"):
        device.detected_device()


def test_other_devices_stay_as_they_are():
    for raw in ({}, {"device": "cpu"}, {"device": "cuda"}, {"device": 3}):
        assert device.resolve_auto(raw) is raw


@pytest.mark.parametrize("decided", device.DEVICES)
def test_a_spec_holds_the_device_and_never_auto(mini, decided, monkeypatch):
    """The plan of `auto` is that of the device it is resolved to, so that two devices have two specs."""
    monkeypatch.setenv(device.ZSR_DEVICE, decided)
    of_auto, named = Plan({**mini, "device": "auto"}), Plan({**mini, "device": decided})
    assert {key: job.hash for key, job in of_auto.jobs.items()} == {key: job.hash for key, job in named.jobs.items()}
    assert {job.spec["device"] for job in of_auto.jobs.values() if "device" in job.spec} == {decided}


def test_a_config_without_a_device_has_the_plan_of_the_cpu(mini):
    assert Plan(mini).report.hash == Plan({**mini, "device": "cpu"}).report.hash


def test_the_jobs_that_plan_again_plan_the_same(mini, monkeypatch):
    """Tables, figures, gallery and report make the plan from their spec's config, maybe on a machine without a GPU."""
    monkeypatch.setenv(device.ZSR_DEVICE, "cuda")
    first = Plan({**mini, "device": "auto"})
    monkeypatch.setenv(device.ZSR_DEVICE, "cpu")
    again = Plan({**first.tables.spec["config"], "results": str(first.results)})
    assert again.tables.hash == first.tables.hash


def test_two_devices_share_no_result(mini, monkeypatch):
    plans = {}
    for decided in device.DEVICES:
        monkeypatch.setenv(device.ZSR_DEVICE, decided)
        plans[decided] = Plan({**mini, "device": "auto"})
    for kind in ("pretrain", "finetune", "heads", "evaluate", "tables", "figures", "gallery", "report"):
        hashes = [{job.hash for job in plan.jobs.values() if job.rule == kind} for plan in plans.values()]
        assert hashes[0] and not hashes[0] & hashes[1], kind


def test_auto_is_refused_on_a_cluster():
    device.refuse_auto_on_cluster({"device": "auto"}, local=True)
    device.refuse_auto_on_cluster({"device": "cuda"}, local=False)
    with refused("the jobs run on others; write device: cuda"):
        device.refuse_auto_on_cluster({"device": "auto"}, local=False)


def jobs_of_snakemake(*gpus: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(resources={"gpu": count}) for count in gpus]


@pytest.mark.parametrize("machine", [{"installed": False}, {"gpus": 0}, {"gpus": 1, "error": device.NO_DEVICE}])
def test_cuda_is_refused_where_no_gpu_is(machine, monkeypatch):
    """A run prepared all data before its first job on the GPU failed."""
    fake_driver(monkeypatch, **machine)
    device.refuse_missing_gpu("cpu", jobs_of_snakemake(0, 1))
    device.refuse_missing_gpu("cuda", jobs_of_snakemake(0, 0))  # what is left to do needs none
    device.refuse_missing_gpu("cuda", ())  # a cluster's jobs run elsewhere
    for own_torch in (True, False):
        with refused("^device: cuda: this machine shows no GPU"):
            device.refuse_missing_gpu("cuda", jobs_of_snakemake(0, 1), own_torch)


def test_cuda_is_refused_where_torch_is_a_cpu_build(monkeypatch):
    fake_driver(monkeypatch, gpus=1, cuda_build=False)
    device.refuse_missing_gpu("cuda", jobs_of_snakemake(1), own_torch=False)  # conda brings another
    with refused("^device: cuda: .* torch is a CPU build"):
        device.refuse_missing_gpu("cuda", jobs_of_snakemake(1))


def test_cuda_is_right_where_a_gpu_is(monkeypatch):
    fake_driver(monkeypatch, gpus=1)
    device.refuse_missing_gpu("cuda", jobs_of_snakemake(1))
    monkeypatch.setenv("ZSR_GPUS", "")
    with refused("ZSR_GPUS hides it"):
        device.refuse_missing_gpu("cuda", jobs_of_snakemake(1))


def test_an_unused_gpu_is_worth_a_line(monkeypatch):
    fake_driver(monkeypatch, gpus=1)
    assert "docs/gpus.md" in device.unused_gpu_warning("cpu")
    assert device.unused_gpu_warning("cuda") == ""
    device.count_gpus.cache_clear()
    fake_driver(monkeypatch, gpus=0)
    assert device.unused_gpu_warning("cpu") == ""


# -- in the workflow --------------------------------------------------------------------------------------------------


@pytest.fixture
def gpu_here(copy: Project) -> Project:
    """Results of a CPU on a machine whose driver shows a GPU, with `device: auto`."""
    copy.path("sitecustomize.py").write_text(FAKE_DRIVER, encoding="utf-8")
    copy.configure({**copy.config, "device": "auto"})
    return copy


@pytest.mark.slow
def test_auto_on_a_cpu_goes_on_with_the_cpu_s_results(copy):
    """Nothing reruns when a config gets the key; what is missing is made with the device in its spec."""
    copy.configure({**copy.config, "device": "auto"})
    assert "Nothing to be done" in copy.snakemake("-n")
    cell = next(copy.folder.glob("results/eval/**/eps-*.parquet"))
    cell.unlink()
    copy.snakemake()
    assert json.loads(cell.with_suffix(".json").read_text(encoding="utf-8"))["spec"]["device"] == "cpu"
    assert "Nothing to be done" in copy.snakemake("-n")


@pytest.mark.slow
def test_results_of_one_device_are_not_replaced_because_the_machine_has_another(gpu_here):
    line = "results: these results were made with device: cpu, and device: auto is cuda here; set ZSR_DEVICE=cpu"
    assert line in gpu_here.snakemake("-n", code=1)
    for command in (["status"], ["repair", "-n"], ["why", "results/report.html"]):
        assert line in gpu_here.zsr(*command, code=1)
    assert "Nothing to be done" in gpu_here.snakemake("-n", env={device.ZSR_DEVICE: "cpu"})
    gpu_here.configure({**gpu_here.config, "device": "cuda"})  # asked for by name
    text = gpu_here.snakemake("-n")
    for rule in ("pretrain", "finetune", "heads", "evaluate", "tables", "report"):
        assert f"rule {rule}:" in text
    assert "gpu=1" in text


@pytest.mark.slow
def test_a_run_on_cuda_without_a_gpu_prepares_nothing(project):
    """A dry run may look at a server's plan, and what needs no GPU may be made."""
    project.configure({**project.config, "device": "cuda"})
    hidden = {"ZSR_GPUS": ""}
    assert "gpu=1" in project.snakemake("-n", env=hidden)
    text = project.snakemake(env=hidden, code=1)
    assert "device: cuda: this machine shows no GPU" in text and "Traceback" not in text
    assert not project.path("results/data").exists()
    data = "results/data/drawn-colour/test/native/manifest.json"
    project.snakemake(data, env=hidden)
    assert project.path(data).is_file()


@pytest.mark.slow
def test_a_driver_that_breaks_between_two_runs_stops_the_second(gpu_here):
    text = gpu_here.snakemake("-n", env={"FAKE_ERROR": "803"}, code=1)
    assert "NVIDIA's driver fails with error 803" in text and "Traceback" not in text
    gpu_here.configure({**gpu_here.config, "device": "cpu"})
    assert "Nothing to be done" in gpu_here.snakemake("-n", env={"FAKE_ERROR": "803"}), "a CPU needs no driver"


@pytest.mark.slow
def test_a_run_on_the_cpu_says_that_a_gpu_is_not_used(gpu_here):
    gpu_here.configure({**gpu_here.config, "device": "cpu"})
    gpu_here.path("results/report.html").unlink()
    assert "this machine has a GPU that this run does not use" in gpu_here.snakemake()

"""What a job runs on: its packages, which must be the pins of its spec, and the machine, for its record."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zsr.errors import ZsrError
from zsr.guard.watch import unwatched
from zsr.plan import environments

INTERPRETER = ("python", "pip")  # pins that are no packages


def check_packages(environment: dict) -> None:
    """The packages that run must be the pins that the spec names, or the spec would lie."""
    name = environment["name"]
    with unwatched():  # the spec holds them
        on_disk, pins = environments.environment(name), environments.pins(name)
    if on_disk != environment["pins"]:
        raise ZsrError(f"envs/{name}.yaml changed after this job was planned; run snakemake again")
    for package, pinned in pins.items():
        if package in INTERPRETER:
            continue
        running = installed(package)
        if running.split("+")[0] != pinned:
            raise ZsrError(
                f"{package} {running} is installed, envs/{name}.yaml pins {pinned}; run `make venv`, or change the pin "
                "there and in requirements.lock"
            )


def installed(package: str) -> str:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def versions(environment: str) -> dict[str, str]:
    """The software, for the record of a result."""
    packages = {name: installed(name) for name in environments.pins(environment) if name not in INTERPRETER}
    return {"python": platform.python_version(), **packages}


def machine() -> dict[str, object]:
    """The hardware, for the record of a result; the host's name is left out, since it is private."""
    facts: dict[str, object] = {"system": platform.platform(), "cpu": platform.machine(), "cores": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def prefer_this_python() -> None:
    """For Snakemake's own process: jobs run on its Python, also where `.venv` was not activated."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

"""The command `zsr`: questions about results that Snakemake does not answer. Each command is one file here."""

import argparse
import importlib
import io
import os
import sys
from pathlib import Path
from types import ModuleType

from zsr.checks.checkout import refuse_other_checkout
from zsr.cli.values import name_of_file, refusing
from zsr.config.device import refuse_other_device
from zsr.config.text import read
from zsr.errors import ROOM, ZsrError, system_error
from zsr.plan.plan import Plan

COMMANDS = {
    "status": "what is done, running, stale and missing, and how long the rest will take",
    "data": "check the datasets: what is there, missing or damaged, and whether the disk suffices",
    "why": "why a result would be made again, in words",
    "table": "a table of the report as Markdown, LaTeX or CSV",
    "export": "models for open_clip and Hugging Face, numbers for other tools, figures for papers",
    "verify": "check every result: bytes, seals, specs, stored examples, tables",
    "repair": "remove results that are damaged or stale, so that snakemake makes them again",
    "adopt": "check results that Snakemake does not remember, as after a copy, and tell it of them",
    "prune": "list results that no config entry asks for any more",
}


def main(arguments: list[str] | None = None) -> None:
    """Parse, run one command, print one line on a mistake."""
    for stream in (sys.stdout, sys.stderr):  # a locale without UTF-8 has no ε, and file names that are not text exist
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    parser = argparse.ArgumentParser(prog="zsr", description="Questions about the results of a zsr workflow.")
    parser.add_argument(
        "--configfile",
        default="config.yaml",
        type=name_of_file,
        help="the config of the results (default: config.yaml)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, about in COMMANDS.items():
        _module(name).options(commands.add_parser(name, help=about, description=about.capitalize() + "."))
    given = parser.parse_args(arguments)
    sys.exit(_flushed(_status(given)))


def _status(given: argparse.Namespace) -> int | str:
    """What the command ends with: a number, or the one line of a mistake."""
    try:
        refuse_other_checkout(Path.cwd(), Path(given.configfile).parent)
        return _module(given.command).run(given)
    except BrokenPipeError:  # `zsr status | head`
        return 0
    except (ZsrError, OSError) as error:
        if os.environ.get("ZSR_TRACEBACK"):
            raise
        return f"zsr: {error if isinstance(error, ZsrError) else _refused_file(error)}"
    except KeyboardInterrupt:
        return "zsr: stopped by a signal"


def _flushed(status: int | str) -> int | str:
    """Write what is still in Python's buffer, here where a failure can be said: the interpreter's end shows traces."""
    try:
        if sys.stdout is not None:  # `zsr status >&-`
            sys.stdout.flush()
    except OSError as error:
        sys.stdout = None  # it holds what cannot be written, and would try again
        if not isinstance(error, BrokenPipeError):
            return f"zsr: {_refused_file(error)}"
    return status


def _refused_file(error: OSError) -> ZsrError:
    """The one line for a file that the system refuses; one without a name is the terminal or a pipe."""
    return system_error(error.filename or "the output", error, ROOM)


def plan_of(given: argparse.Namespace) -> Plan:
    """The plan of the config that the command line names."""
    with refusing("--configfile", given.configfile):
        raw = read(Path(given.configfile))
    plan = Plan(raw)
    refuse_other_device(raw, plan)
    return plan


def _module(name: str) -> ModuleType:
    """The file of a command: `options` declares its arguments, `run` runs it."""
    return importlib.import_module(f"zsr.cli.{name}")

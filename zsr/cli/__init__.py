"""The command `zsr`: questions about results that Snakemake does not answer. Each command is one file here."""

import argparse
import importlib
import io
import os
import sys
from pathlib import Path

from zsr import config
from zsr.checkout import refuse_other_checkout
from zsr.device import refuse_other_device
from zsr.errors import ZsrError
from zsr.plan import Plan

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
    parser.add_argument("--configfile", default="config.yaml", help="the config of the results (default: config.yaml)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, about in COMMANDS.items():
        _module(name).options(commands.add_parser(name, help=about, description=about.capitalize() + "."))
    given = parser.parse_args(arguments)
    try:
        refuse_other_checkout(Path.cwd(), Path(given.configfile).parent)
        sys.exit(_module(given.command).run(given))
    except ZsrError as error:
        if os.environ.get("ZSR_TRACEBACK"):
            raise
        sys.exit(f"zsr: {error}")
    except BrokenPipeError:  # `zsr status | head`
        sys.stderr.close()
        sys.exit(0)


def plan_of(given: argparse.Namespace) -> Plan:
    """The plan of the config that the command line names."""
    raw = config.read(Path(given.configfile))
    plan = Plan(raw)
    refuse_other_device(raw, plan)
    return plan


def _module(name: str):
    return importlib.import_module(f"zsr.cli.{name}")

"""How a job says why it failed: one line, in its log and on the terminal."""

import os
import re
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from zsr.errors import ROOM, ZsrError, system_reason


def reason(error: Exception, folder: Path) -> str | None:
    """One line for a mistake, a lack of memory or a refusal of the system; None for a bug, which needs its traceback.

    `folder` is where the results would lie, for errors that name no file.
    """
    if isinstance(error, ZsrError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; give the job more (mem_mb) or make its batch smaller"
    if type(error).__name__ == "OutOfMemoryError":  # torch's; torch may not be imported yet
        return "out of memory on the GPU; make the batch smaller, or let fewer cells share a card (cells_per_gpu)"
    refused = refusal(error, folder)
    return f"{refused}; {ROOM}, then run again" if refused else None


def refusal(error: Exception, folder: Path) -> str | None:
    """What the system said when it refused to read or write, or None; safetensors and torch have words of their own."""
    if isinstance(error, OSError):
        return f"{error.filename or folder}: {system_reason(error)}"
    if number := re.search(r"\(os error (\d+)\)", str(error)):
        return f"{folder}: the results could not be written: {os.strerror(int(number[1]))}"
    if "PytorchStreamWriter" in str(error):
        return f"{folder}: the checkpoint could not be written"
    return None


def fail(line: str) -> NoReturn:
    """End the process with one line, in the log and (descriptor 3, opened by the rule) on the terminal."""
    if os.environ.get("ZSR_TRACEBACK"):
        traceback.print_exc()
    print(f"zsr: {line}", file=sys.stderr, flush=True)
    try:
        os.write(3, f"zsr: {line}\n".encode(errors="surrogateescape"))
    except OSError:
        sys.stderr.flush()  # run by hand: there is no descriptor 3, and the line above was seen
    sys.exit(1)

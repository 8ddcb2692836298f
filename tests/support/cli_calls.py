"""Calls of the command `zsr` in this process: its status, or its last line."""

import pytest

from zsr.cli import main


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

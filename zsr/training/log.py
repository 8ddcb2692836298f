"""Training metrics: one JSON line a step, and the same for TensorBoard.

A training that goes on after an interruption drops what was logged after its checkpoint, so that each step is listed
once. TensorBoard's writer costs 1 s to import; it is asked for only when a training starts.
"""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import TextIO

from zsr.errors import ZsrError


class TrainLog:
    """`log({"step": 3, "loss": 0.1})`; the part file of another spec is discarded."""

    def __init__(self, path: Path, tensorboard: Path, spec_hash: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = path.with_name(f".{path.name}.{spec_hash}.part")
        self.final = path
        for other in path.parent.glob(f".{path.name}.*.part"):
            if other != self.path:
                other.unlink()
        if not self.path.exists():
            shutil.rmtree(tensorboard, ignore_errors=True)
        self.rows = _rows(self.path)
        self.file: TextIO | None = None
        self.board = SummaryWriter(str(tensorboard), purge_step=len(self.rows) or None)

    def __enter__(self) -> "TrainLog":
        return self

    def __call__(self, row: dict[str, float]) -> None:
        """Log one step."""
        if self.file is None:
            self.file = self._open(row["step"])
        self.file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step":
                self.board.add_scalar(name, value, row["step"])

    def _open(self, step: float) -> TextIO:
        """The file, with the lines of an interrupted training that lie before a step."""
        kept = [line for line in self.rows if self._step(line) < step]
        # line by line: a checkpoint never knows more than the log
        file = self.path.open("w", encoding="utf-8", buffering=1)
        file.writelines(f"{line}\n" for line in kept)
        return file

    def _step(self, line: str) -> int:
        """The step that a kept line is of."""
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError) as error:
            cure = "delete it and last.ckpt beside it to start anew"
            raise ZsrError(f"{self.path}: a line of this unfinished log is damaged; {cure}") from error

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.file is not None:
            self.file.close()
        self.board.close()
        if error is None:
            self.path.replace(self.final)


def _rows(path: Path) -> list[str]:
    """The whole lines of an interrupted log; a last line that was cut is dropped."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")  # a damaged line is named where it is read
    return text[: text.rfind("\n") + 1].splitlines()

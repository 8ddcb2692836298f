"""The files that a training keeps while it runs: its checkpoint and its log."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zsr.training.checkpoint import Checkpoint
from zsr.training.log import TrainLog

if TYPE_CHECKING:
    from zsr.jobs.run import JobRun

CHECKPOINT = "last.ckpt"


@contextmanager
def training_files(job: "JobRun") -> Iterator[tuple[Checkpoint, TrainLog]]:
    """Where a job's training goes on from, and where it logs; save the weights inside the block.

    At its end the checkpoint is removed, if the code is still that of the spec: a result that may not land must not
    cost the checkpoint. Then the log takes its final name: a training that goes on must find its unfinished log.
    """
    checkpoint = Checkpoint(job.folder / CHECKPOINT, job.resumable)
    with TrainLog(job.outputs["log"], job.folder / "tensorboard", job.resumable) as log:
        yield checkpoint, log
        job.check_code()
        checkpoint.done()

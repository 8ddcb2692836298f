"""An image tower with constants of its method, saved with its weights, and the features that they are made from."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.methods.core.task import Task

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet


class TowerWithBuffers(nn.Module):
    """The tower unchanged, with buffers beside it: they are saved with the weights, and `Method.head` reads them."""

    def __init__(self, visual: nn.Module, **constants: Tensor) -> None:
        super().__init__()
        self.visual = visual
        for name, value in constants.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.visual(x)


def dimensions(visual: nn.Module) -> int:
    """D of the tower's features [B, D]."""
    width = getattr(visual, "output_dim", None)
    if width is None:
        raise ZsrError(f"the image tower {type(visual).__name__} does not say the dimension of its features")
    return width


def source_features(task: Task, source_set: "SourceSet", count: int) -> tuple[Tensor, Tensor]:
    """f_0 [N, D] and labels [N] of the first `count` source images; one forward each, no graph."""
    labels = torch.from_numpy(source_set.labels[:count]).to(task.head.device)
    return task.frozen_features_of(source_set.images[:count]), labels

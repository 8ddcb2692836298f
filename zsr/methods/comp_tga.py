"""Comp-TGA: text-guided attention with its complement (TPAMI 2026, arXiv 2603.18598), the extension of TGA-ZSR.

    L as in TGA-ZSR with A = A_class · (1 - A_other),  A_other guided by "This is not a photo of a {class}"

Both maps come from one forward; each is scaled to [0, 1] and resized before the product, which is therefore made at
full size (TGA-ZSR can do without). Read from the authors' `Comp-TGA.py`.

Setting: as TGA-ZSR, α = 0.10, β = 0.07; the README reports 55.44 clean, 44.46 PGD-100 over 16 sets and no AutoAttack.

`template` must be made of words that the text tower knows. What it makes of "not" is another matter: on the embedded
benchmark all denials share one direction (docs/benchmark.md), so the complement is the same map for every class.
`map_size` below 224 makes the product cheaper, the distance is scaled to what it would be at 224.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.errors import ZsrError
from zsr.methods.core.patch_tokens import grid_of, guided, require, resized
from zsr.methods.core.task import Batch, Task
from zsr.methods.tga_zsr import TGAZSR

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet

FULL = 224  # the size of map that α and β are meant for


@dataclass(frozen=True)
class CompTGA(TGAZSR):
    """TGA-ZSR with what the class is not taken away from the map."""

    alpha: float = 0.10
    beta: float = 0.07
    template: str = "This is not a photo of a {}"

    def check(self, task: Task) -> None:
        require(task.visual, "comp-tga")
        if "{}" not in self.template:
            raise ZsrError(f"comp-tga: template '{self.template}' has no place {{}} for the class name")
        text_encoder(task)

    def prepare(self, task: Task, source_set: "SourceSet") -> None:
        with torch.no_grad():
            other = text_encoder(task)([self.template.format(name) for name in task.classes])
        task.extras["other_head"] = F.normalize(other.to(task.head), dim=1)  # [C, D]

    def attention(self, task: Task, seen: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        """A_class · (1 - A_other), resized [B, S, S]."""
        maps = (guided(*seen, head[batch.labels], self.normalise) for head in (task.head, task.extras["other_head"]))
        own, other = (resized(one, grid_of(task.visual), self.map_size) for one in maps)
        return own * (1 - other)

    def distance(self, task: Task, one: Tensor, other: Tensor) -> Tensor:
        norms = torch.linalg.vector_norm((one - other).flatten(1), dim=1)
        return norms.mean() * (FULL / self.map_size)


def text_encoder(task: Task) -> Callable[[list[str]], Tensor]:
    """Prompts -> features [P, D], for a task that has class names to write prompts of."""
    if task.encode_text is None or len(task.classes) != len(task.head):
        raise ZsrError("comp-tga: needs the class names of the source set and the text tower, this task has none")
    return task.encode_text

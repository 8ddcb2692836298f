"""Linear probe: a new linear read-out on the frozen image tower. Not zero-shot: it knows the classes it was trained on.

    L = CE( W f_0(x) / r + b, y )        clean images, no attack; only W and b train

TeCoA's paper gives it for reference (Mao et al., ICLR 2023, section 3.2): trained on each target task itself, 48.58
clean and 16.00 robust (PGD-100) over 16 sets, beside 64.56 and 6.57 of zero-shot CLIP. So a probe is trained on one set
(`recipe: {dataset: …}`, the source set unless said) and evaluated on the sets with exactly its classes; all others are
left out of its row, which tables and report mark. There is one entry of the config for each target set.

Features f_0 are those before comparison with text, not of unit length; r, their root mean square, is fixed before
training, so that the learning rate means the same for every tower. W and b start at zero: the problem is convex.
The tower sees each image once: its features are computed before the first step and kept (N × D numbers), and a step
costs a product. Reconstruction: the optimiser, which the paper does not give; the recipe's is used.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.methods.core.base import Method, accuracy
from zsr.methods.core.frozen_tower import FrozenTower
from zsr.methods.core.task import Batch, Task
from zsr.methods.core.tower_with_buffers import dimensions, source_features

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet


class Probed(FrozenTower):
    """A frozen tower, in eval mode whatever happens, and a linear layer: normalised images -> logits [B, C]."""

    def __init__(self, visual: nn.Module, classes: int) -> None:
        super().__init__(visual)
        self.read_out = nn.Linear(dimensions(visual), classes)
        nn.init.zeros_(self.read_out.weight)
        nn.init.zeros_(self.read_out.bias)
        self.register_buffer("size", torch.ones(()))  # r

    def forward(self, x: Tensor) -> Tensor:
        return self.read_out(self.visual(x) / self.size)


@dataclass(frozen=True)
class LinearProbe(Method):
    """Cross-entropy of a linear layer on the frozen tower's features."""

    zero_shot: ClassVar[bool] = False
    attacked: ClassVar[bool] = False
    own_tensors: ClassVar[bool] = True

    classes: int = 0  # outputs of the read-out; the plan writes the number of classes of the set that it trains on

    def check(self, task: Task) -> None:
        if self.classes != len(task.head):
            raise ZsrError(f"linear-probe: classes is {self.classes}, the set that it trains on has {len(task.head)}")

    def wrap(self, visual: nn.Module, seed: int = 0) -> nn.Module:
        return Probed(visual, self.classes)

    def trainable(self, visual: nn.Module) -> list[str]:
        return ["read_out.weight", "read_out.bias"]

    def prepare(self, task: Task, source_set: "SourceSet") -> None:
        features, _ = source_features(task, source_set, len(source_set.labels))
        size = task.visual.get_buffer("size")
        size.copy_(features.square().mean().sqrt())
        task.extras["features"] = features / size

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = task.visual.get_submodule("read_out")(task.extras["features"][batch.keys])  # [B, C]
        return F.cross_entropy(logits, batch.labels), {"accuracy": accuracy(logits, batch.labels)}

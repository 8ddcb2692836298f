"""Visual prompts: the tower is frozen, a few numbers in its input train, under any of the losses of TeCoA's table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn

from zsr.methods.adv import Adv
from zsr.methods.ce import CE
from zsr.methods.coadv import CoAdv
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import Method
from zsr.methods.core.frozen_tower import FrozenTower
from zsr.methods.core.task import Batch, Task
from zsr.methods.imgcoadv import ImgCoAdv
from zsr.methods.tecoa import TeCoA

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet

LOSSES = {"tecoa": TeCoA, "ce": CE, "adv": Adv, "coadv": CoAdv, "imgcoadv": ImgCoAdv}


class Prompted(FrozenTower):
    """A frozen tower behind one prompt."""

    def __init__(self, visual: nn.Module, prompt: Tensor) -> None:
        super().__init__(visual)
        self.prompt = nn.Parameter(prompt)


@dataclass(frozen=True)
class VisualPrompt(AdversarialMethod):
    """What the prompts share: the loss of another method with its defaults, and only `prompt` trains."""

    own_tensors: ClassVar[bool] = True

    criterion: Literal["tecoa", "ce", "adv", "coadv", "imgcoadv"] = "tecoa"

    @property
    def inner(self) -> Method:
        """The method whose loss is minimised."""
        return LOSSES[self.criterion]()

    def trainable(self, visual: nn.Module) -> list[str]:
        return ["prompt"]

    def prepare(self, task: Task, source_set: "SourceSet") -> None:
        self.inner.prepare(task, source_set)

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.inner.loss(task, batch)

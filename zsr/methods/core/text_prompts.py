"""Bases of adversarial prompt learning: both towers are frozen, vectors in their inputs train (CoOp, MaPLe).

Class embeddings are computed anew in every step, with gradient; the inner attack takes them as constants. In evaluation
they are made by the job `texts`, once per model and dataset, since no other model shares them.

The prompt of a class is `template` ("dataset": each dataset's own templates) behind M learned vectors, which stand for
the words it shares with `init` (zsr/models/prompt_length.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.methods.core.adversarial import AdversarialMethod
from zsr.methods.core.base import accuracy
from zsr.methods.core.patch_tokens import require
from zsr.methods.core.prompt_vectors import Bimodal, Prompts, bimodal
from zsr.methods.core.task import Batch, Task
from zsr.models.prompt_length import templates_of
from zsr.models.prompted_text_tower import Laid, TextTower

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

    from zsr.methods.core.source_set import SourceSet


@dataclass(frozen=True)
class TextPrompts(AdversarialMethod):
    """Learned words before the class name; TeCoA's loss and attack unless overridden."""

    trains_text: ClassVar[bool] = True
    own_tensors: ClassVar[bool] = True

    tokens: int = 16  # M
    init: str = ""  # words whose embeddings the vectors start from; where they end, N(0, 0.02²)
    template: str = "{}"  # what follows; "dataset" is each dataset's own

    def draw(self, visual: "VisionTransformer", text: TextTower, generator: torch.Generator) -> Prompts:
        """A set of prompts before training."""
        return Prompts(text.initial(self.init, self.tokens, generator)[None], None, "none", generator)

    def wrap(  # type: ignore[override]  # who trains text is given its tower (`trains_text`)
        self, visual: nn.Module, seed: int = 0, *, text: TextTower
    ) -> nn.Module:
        return Bimodal(visual, prompts=self.draw(visual, text, torch.Generator().manual_seed(seed)))

    def trainable(self, visual: nn.Module) -> list[str]:
        return [name for name, _ in visual.named_parameters() if not name.startswith("visual.")]

    def check(self, task: Task) -> None:
        text_tower(task).check(type(self).__name__)

    def prepare(self, task: Task, source_set: "SourceSet") -> None:
        laid = self.lay(text_tower(task), list(task.classes), list(task.templates))
        task.extras |= laid._asdict()

    def lay(self, text: TextTower, classes: list[str], templates: list[str]) -> Laid:
        """The prompts of a dataset, with room for the vectors."""
        return text.lay(classes, templates_of(self.template, templates), self.init, self.tokens)

    def texts(self, task: Task, prompts: Prompts | None = None) -> Tensor:
        """Class embeddings of the source set [C, D], of unit length, with gradient."""
        laid = Laid(task.extras["words"], task.extras["ends"])
        return text_tower(task).encode(laid, (prompts or bimodal(task.visual).prompts).text_side())

    def embeddings(self, visual: nn.Module, text: TextTower, classes: list[str], templates: list[str]) -> Tensor:
        """Class embeddings of any dataset [C, D] with the trained vectors, for evaluation."""
        with torch.no_grad():
            return text.encode(self.lay(text, classes, templates), bimodal(visual).prompts.text_side())

    def objective(self, task: Task, batch: Batch) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            return self.objective_against(task, batch, self.texts(task))

    def objective_against(self, task: Task, batch: Batch, texts: Tensor) -> Callable[[Tensor], Tensor]:
        """Cross-entropy of each image against texts [C, D] that the attack takes as constants."""
        texts = texts.detach()
        return lambda features: F.cross_entropy(task.logits(features, head=texts), batch.labels, reduction="none")

    def loss(self, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        texts = self.texts(task)
        net_input = self.attack(task, batch, self.objective_against(task, batch, texts)).net_input
        adversarial = task.logits(task.visual(net_input), head=texts)
        return F.cross_entropy(adversarial, batch.labels), {"robust_accuracy": accuracy(adversarial, batch.labels)}


@dataclass(frozen=True)
class BimodalPrompts(TextPrompts):
    """M vectors in each of the first layers of both towers."""

    needs_tokens: ClassVar[bool] = True
    coupling: ClassVar[str] = "none"  # none | text-to-image | image-to-text

    tokens: int = 2  # M, of each side
    depth: int = 0  # J, layers with vectors; 0 is 9 of 12 of the tower that has fewer
    init: str = "a photo of a"
    template: str = "a photo of a {}"

    def draw(self, visual: "VisionTransformer", text: TextTower, generator: torch.Generator) -> Prompts:
        depth = self.layers(visual, text)
        words = 0.02 * torch.randn(depth, self.tokens, text.width, generator=generator)
        words[0] = text.initial(self.init, self.tokens, generator)
        image = 0.02 * torch.randn(depth, self.tokens, len(visual.class_embedding), generator=generator)
        return Prompts(words, image, self.coupling, generator)

    def check(self, task: Task) -> None:
        super().check(task)
        require(task.visual, type(self).__name__)
        self.layers(task.visual, text_tower(task))

    def layers(self, visual: "VisionTransformer", text: TextTower) -> int:
        """J."""
        most = min(text.layers, len(visual.transformer.resblocks))
        if self.depth > most:
            raise ZsrError(f"{type(self).__name__}: depth is {self.depth}, the towers share {most} layers")
        return self.depth or max(1, round(most * 9 / 12))


def text_tower(task: Task) -> TextTower:
    """The text side that the prompts are read by."""
    if task.text is None:
        raise ZsrError("learned prompts: need the text tower of the backbone, this task has none")
    return task.text

"""What a method is: hyper-parameters, which parameters train, and a loss. The loop itself is `zsr.training.fine_tune`.

A method is one file in zsr/methods/ with one frozen dataclass derived from `Method`; its fields are what the config
may set under `settings`. Methods that need adversarial images derive from `AdversarialMethod` (adversarial.py).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet
    from zsr.methods.core.task import Batch, Task
    from zsr.models.prompted_text_tower import TextTower


@dataclass(frozen=True)
class Method:
    """Base of all methods."""

    trains: ClassVar[bool] = True
    attacked: ClassVar[bool] = True  # False: it trains on clean images alone, and no ε of training is reported
    zero_shot: ClassVar[bool] = True  # False: a read-out for the classes it was trained on, and no others
    needs_labels: ClassVar[bool] = True  # whether the source set must be labelled
    needs_classes: ClassVar[bool] = True  # whether it must have class names: texts to compare images with
    needs_tokens: ClassVar[bool] = False  # whether the backbone must be a VisionTransformer with a class token
    needs_teacher: ClassVar[bool] = False  # whether another model of the config must be named as `teacher`
    own_tensors: ClassVar[bool] = False  # whether `wrap` adds tensors: then weights mix with the same method's alone
    trains_text: ClassVar[bool] = False  # whether class embeddings are its own: see `zsr.methods.core.text_prompts`

    def wrap(self, visual: nn.Module, seed: int = 0) -> nn.Module:
        """The module that trains and is evaluated in place of the image tower: the tower itself unless overridden.

        A method with parameters of its own (prompts) returns a module that holds the tower as `.visual`; the names of
        the tower's tensors then begin with `visual.`. What is saved is what training changed, by those names, so that
        whoever loads a model wraps the backbone with the same method and settings first. `seed` draws initial values.
        """
        return visual

    def head(self, visual: nn.Module, head: Tensor) -> Tensor:
        """The class embeddings [C, D] that the wrapped tower is evaluated with, from those of the text tower."""
        return head

    def embeddings(self, visual: nn.Module, text: "TextTower", classes: list[str], templates: list[str]) -> Tensor:
        """Class embeddings [C, D] of any dataset, for methods that train text."""
        raise TypeError(f"{type(self).__name__} trains no text")

    def check(self, task: "Task") -> None:
        """Raise a `ZsrError` if the method cannot train this student; called before anything is computed."""

    def prepare(self, task: "Task", source_set: "SourceSet") -> None:
        """What must be there before the first step goes into `task.extras`; a function of (task, source_set) alone.

        It runs again when a training is resumed, so it must not look at the student's weights.
        """

    def trainable(self, visual: nn.Module) -> list[str]:
        """The names of the visual tower's parameters that train; the rest stay bit-identical."""
        return [name for name, _ in visual.named_parameters()]

    def loss(self, task: "Task", batch: "Batch") -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and what else is worth logging."""
        raise TypeError(f"{type(self).__name__} has no loss")


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of correct predictions, for the training log."""
    with torch.no_grad():
        return (logits.argmax(1) == labels).float().mean()

"""What a method trains with: the student, the frozen original, the class embeddings, the threat."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zsr.methods.core.processes import ONE_PROCESS, Processes

if TYPE_CHECKING:
    from zsr.methods.core.source_set import SourceSet
    from zsr.models.prompted_text_tower import TextTower

CHUNK = 256  # images per forward of the original over a whole set
CACHE_BYTES = 2**30  # of features that a training keeps at most: half a million images of ViT-B/32


class Batch(NamedTuple):
    """One step's images."""

    images: Tensor  # [B, 3, H, W] float32 in [0, 1]
    labels: Tensor  # [B] int64
    keys: Tensor  # [B] int64, each image's place in the source set: randomness is keyed by it
    step: int


@dataclass
class Task:
    """The source task of one fine-tuning."""

    visual: nn.Module  # the student: normalised images -> features
    mean: tuple[float, ...]
    std: tuple[float, ...]
    head: Tensor  # [C, D] class embeddings of unit length, constant
    scale: float  # s = exp(logit_scale), 100 for OpenAI's CLIP; never trained
    eps: float
    attack_steps: int
    attack_alpha: float  # step size in units of ε
    seed: int
    kernels: str = "auto"
    attack_scale: float = 1.0  # of the inner attack's loss; its steps follow directions alone
    classes: tuple[str, ...] = ()  # class names, in the head's order; for methods that write prompts of their own
    templates: tuple[str, ...] = ()  # the source set's
    encode_text: Callable[[list[str]], Tensor] | None = field(default=None, repr=False)  # prompts -> [P, D]
    teacher: nn.Module | None = field(default=None, repr=False)  # another model of the config, frozen
    teacher_head: Tensor | None = field(default=None, repr=False)  # the class embeddings [C, D] that it is used with
    text: "TextTower | None" = field(default=None, repr=False)  # for methods that train text, and for no other
    processes: Processes = ONE_PROCESS  # the processes that share each batch
    source_set: "SourceSet | None" = field(default=None, repr=False)  # set by `cache_original_features`
    extras: dict[str, Tensor] = field(default_factory=dict, repr=False)  # what a method's `prepare` made
    original: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.mean_tensor = torch.tensor(self.mean, device=self.head.device)
        self.std_tensor = torch.tensor(self.std, device=self.head.device)
        self.original = {name: value.detach().clone() for name, value in self.visual.state_dict().items()}
        if self.teacher is not None:
            self.teacher.eval().requires_grad_(False)
        self.tower, self.tower_state = self.visual, self.original  # what `frozen` is made of, wrapped or not

    def wrap_student(self, wrap: Callable[..., nn.Module]) -> None:
        """Wrap the student in a method's module; `original` then names the tower's tensors as that module does."""
        both = {} if self.text is None else {"text": self.text}
        self.visual = wrap(self.tower, self.seed, **both).to(self.head.device)
        if self.visual is not self.tower:
            self.original = {f"visual.{name}": value for name, value in self.tower_state.items()}

    @cached_property
    def frozen(self) -> nn.Module:
        """The visual tower as it was before training, in eval mode and without gradients; made when first asked for."""
        twin = copy.deepcopy(self.tower)
        twin.load_state_dict(self.tower_state)
        return twin.eval().requires_grad_(False)

    def normalise(self, images: Tensor) -> Tensor:
        """[0, 1] pixels -> the tower's input."""
        return (images - self.mean_tensor.view(1, -1, 1, 1)) / self.std_tensor.view(1, -1, 1, 1)

    def features(self, images: Tensor) -> Tensor:
        """f_θ(x) [B, D], not normalised."""
        return self.visual(self.normalise(images))

    def frozen_features(self, images: Tensor) -> Tensor:
        """f_0(x) [B, D]; no graph."""
        with torch.no_grad():
            return self.frozen(self.normalise(images))

    def frozen_features_of(self, images: np.ndarray) -> Tensor:
        """f_0 [N, D] of uint8 images [N, 3, H, W], in chunks of fixed places."""
        device = self.head.device
        chunks = (torch.from_numpy(images[at : at + CHUNK]).to(device) for at in range(0, len(images), CHUNK))
        return torch.cat([self.frozen_features(chunk.float().div_(255)) for chunk in chunks])

    def cache_original_features(self, source_set: "SourceSet", visits: int) -> None:
        """Let `original_features` cache f_0 of the whole source set, if the training visits each image twice or more.

        The cache is computed at its first use, so methods without `original_features` do not pay for it. A resumed
        training computes the same again: chunks do not depend on the step.
        """
        fits = len(source_set.labels) * self.head.shape[1] * 4 <= CACHE_BYTES
        self.source_set = source_set if fits and visits >= 2 * len(source_set.labels) else None

    @cached_property
    def cached_features(self) -> Tensor:
        """f_0 of every source image [N, D]."""
        assert self.source_set is not None  # by `original_features`
        return self.frozen_features_of(self.source_set.images)

    def original_features(self, batch: Batch) -> Tensor:
        """f_0(x) [B, D] of a batch's clean images, from the cache if there is one."""
        return self.frozen_features(batch.images) if self.source_set is None else self.cached_features[batch.keys]

    @cached_property
    def train_differs_from_eval(self) -> bool:
        """Whether train mode computes something else than eval mode: else one forward serves attack and loss."""
        rates = ("p", "prob", "drop_prob", "dropout")  # as torch, open_clip and timm name them
        return any(
            isinstance(module, _BatchNorm) or any(getattr(module, rate, 0) for rate in rates)
            for module in self.visual.modules()
        )

    @contextmanager
    def frozen_bn_stats(self) -> Iterator[None]:
        """Student forwards that do not move BatchNorm's running statistics; they still normalise by their own batch.

        A method with several student forwards in one step would move the statistics once for each, with a momentum
        and a mixture that depend on the method. Here one forward of a step moves them, the one whose images carry the
        classification loss, or the adversarial one where there is none, and every other runs in this context. So a
        second term whose weight goes to zero leaves the first method, statistics included. In eval mode nothing
        changes.
        """
        norms = [module for module in self.visual.modules() if isinstance(module, _BatchNorm)]
        tracking = [module for module in norms if module.training and module.track_running_stats]
        for module in tracking:
            module.track_running_stats = False
        try:
            yield
        finally:
            for module in tracking:
                module.track_running_stats = True

    def logits(self, features: Tensor, scale: float | None = None, head: Tensor | None = None) -> Tensor:
        """z_c = s·cos(f, t_c) [B, C]; `scale` and `head` in place of s and t where a method trains with others."""
        texts = self.head if head is None else head
        return (self.scale if scale is None else scale) * F.normalize(features, dim=1) @ texts.T

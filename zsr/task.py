"""What a method sees while it trains: the student, the frozen original, the class embeddings, the threat."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


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
    classes: tuple[str, ...] = ()  # class names, in the head's order; for methods that write prompts of their own
    encode_text: Callable[[list[str]], Tensor] | None = field(default=None, repr=False)  # prompts -> [P, D]
    extras: dict[str, Tensor] = field(default_factory=dict, repr=False)  # what a method's `prepare` made
    original: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.mean_tensor = torch.tensor(self.mean, device=self.head.device)
        self.std_tensor = torch.tensor(self.std, device=self.head.device)
        self.original = {name: value.detach().clone() for name, value in self.visual.state_dict().items()}
        self.tower, self.tower_state = self.visual, self.original  # what `frozen` is made of, wrapped or not

    def dress(self, wrap: Callable[[nn.Module, int], nn.Module]) -> None:
        """Put a method's module around the student; `original` then names the tower's tensors as that module does."""
        self.visual = wrap(self.tower, self.seed).to(self.head.device)
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

    @cached_property
    def mode_matters(self) -> bool:
        """Whether train mode computes something else than eval mode: else one forward serves attack and loss."""
        rates = ("p", "prob", "drop_prob", "dropout")  # as torch, open_clip and timm name them
        return any(
            isinstance(module, _BatchNorm) or any(getattr(module, rate, 0) for rate in rates)
            for module in self.visual.modules()
        )

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Student forwards that leave BatchNorm's running statistics alone; they still normalise by their own batch.

        A method with several student forwards in one step would move the statistics once for each, with a momentum
        and a mixture that depend on the method. Here one forward of a step moves them, the one whose images carry the
        classification loss, or the adversarial one where there is none, and every other runs aside. A second term
        whose weight goes to zero then leaves the first method, statistics included. In eval mode nothing changes.
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

    def logits(self, features: Tensor, scale: float | None = None) -> Tensor:
        """z_c = s·cos(f, t_c) [B, C]; `scale` in place of s where a method trains at another temperature."""
        return (self.scale if scale is None else scale) * F.normalize(features, dim=1) @ self.head.T

"""What a method sees while it trains: the student, the frozen original, the class embeddings, the threat."""

import copy
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
    original: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.mean_tensor = torch.tensor(self.mean, device=self.head.device)
        self.std_tensor = torch.tensor(self.std, device=self.head.device)
        self.original = {name: value.detach().clone() for name, value in self.visual.state_dict().items()}

    @cached_property
    def frozen(self) -> nn.Module:
        """The visual tower as it was before training, in eval mode and without gradients; made when first asked for."""
        twin = copy.deepcopy(self.visual)
        twin.load_state_dict(self.original)
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

    def logits(self, features: Tensor) -> Tensor:
        """z_c = s·cos(f, t_c) [B, C]."""
        return self.scale * F.normalize(features, dim=1) @ self.head.T

"""CLIP's contrastive pretraining, for the small backbones of the embedded benchmark.

    L = ½ mean_i CE(s·cos(f_i, t_·), u_i) + ½ mean_j H(q_j, softmax_i s·cos(f_i, t_j))

Drawn captions repeat within a batch, and CLIP's loss (Radford et al. 2021) would count an equal caption as a negative.
So the texts of a batch are its U different captions: image i belongs to caption u_i, caption j to all of its images,
q_j uniform over them (UniCL, Yang et al., CVPR 2022, arXiv 2204.03610). Each caption is encoded once.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.backbone import Backbone, ClipModel
from zsr.training.captions import BETWEEN
from zsr.training.loop import Row, Training
from zsr.training.lr_schedule import warm_cosine

CHUNK = 128  # images or texts of one forward of what does not train


@dataclass(frozen=True)
class PretrainRecipe:
    """AdamW with linear warm-up and half a cosine to zero."""

    steps: int = 1000
    batch: int = 128
    lr: float = 2e-3
    beta2: float = 0.98  # CLIP's, for short trainings
    weight_decay: float = 0.05  # on matrices alone
    warmup: int = 100
    clip: float = 1.0  # largest gradient norm; 0 is off
    largest_scale: float = 50.0  # bound of exp(logit_scale), 100 in CLIP; less keeps margins comparable


class PairBatch(NamedTuple):
    """One step: images, and the texts that they are compared with."""

    chosen: np.ndarray  # [B], the images by their index in the set
    images: Tensor  # [B, …] as the image tower reads them
    texts: Tensor  # [U + V], the texts by their row of `ContrastiveTraining.tokens`: captions before others
    tokens: Tensor  # [U + V, T]
    owner: Tensor  # [B], the caption of each image
    captions: int  # U


class ContrastiveTraining(Training):
    """The contrastive loss on images and their captions; what an image is, its caller knows.

    The order of images and the choice among their captions are functions of (seed, step): nothing random is stored.
    """

    name = "pretraining"
    cure = "lower lr, or lengthen warmup"

    def __init__(
        self,
        model: ClipModel,
        inputs: Callable[[np.ndarray], Tensor],  # indices of images -> what the image tower reads
        captions: list[str],
        tokens: Callable[[list[str]], Tensor],
        recipe: PretrainRecipe,
        seed: int,
        device: str,
    ) -> None:
        if len(captions) < recipe.batch:
            raise ZsrError(f"pretraining: {len(captions)} images are less than one batch of {recipe.batch}")
        self.inputs, self.recipe, self.seed, self.device = inputs, recipe, seed, device
        self.steps = recipe.steps
        self.model = model.to(device).train()
        self.known, self.choices = caption_table(captions)
        self.tokens = tokens(self.known)
        self.optimizer = make_optimizer(self.model, recipe)

    def update(self) -> Row:
        recipe = self.recipe
        rate = recipe.lr * warm_cosine(self.step, recipe.warmup, recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, logged = self.loss(self.batch(self.step))
        self.last_loss = loss.item()
        self.check_finite(self.last_loss, "loss")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip or math.inf).item()
        self.check_finite(norm, "gradient")
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(recipe.largest_scale))
        row = {"step": self.step, "loss": self.last_loss, "lr": rate, "grad_norm": norm}
        return row | {name: figure.item() for name, figure in logged.items()}

    def batch(self, step: int) -> PairBatch:
        """The images of a step, their different captions, and further texts if there are any."""
        chosen = self.chosen(step)
        draw = np.random.default_rng([self.seed, *self._position(step)])
        alternatives = draw.integers(self.choices.shape[1], size=len(chosen))
        captions, owner = torch.from_numpy(self.choices[chosen, alternatives]).unique(return_inverse=True)
        texts = torch.cat([captions, self.further_texts(step)])
        tokens, owner = self.tokens[texts].to(self.device), owner.to(self.device)
        return PairBatch(chosen, self.inputs(chosen), texts, tokens, owner, len(captions))

    def further_texts(self, step: int) -> Tensor:
        """Rows of `tokens` of texts that no image of the step has [V]."""
        return torch.empty(0, dtype=torch.int64)

    def chosen(self, step: int) -> np.ndarray:
        size = self.recipe.batch
        epoch, position = self._position(step)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.choices))
        return np.sort(order[position * size : (position + 1) * size])

    def _position(self, step: int) -> tuple[int, int]:
        """A step's epoch, and its number in that epoch."""
        return divmod(step, len(self.choices) // self.recipe.batch)

    def loss(self, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss, and what is logged beside it."""
        features, texts = self.features(batch)
        loss, accuracy = self.contrast(features, texts[: batch.captions], batch.owner)
        return loss, {"accuracy": accuracy}

    def features(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Of the images [B, D] and of the texts [U + V, D], of unit length."""
        features = F.normalize(self.model.visual(batch.images), dim=1)
        return features, F.normalize(self.model.encode_text(batch.tokens), dim=1)

    def contrast(self, features: Tensor, texts: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """The contrastive loss of captions [U, D], and the share of images that find theirs."""
        logits = self.model.logit_scale.exp() * features @ texts.T  # [B, U]
        of_image = F.cross_entropy(logits, owner)
        belongs = F.one_hot(owner, len(texts)).float()  # [B, U]
        of_text = F.cross_entropy(logits.T, (belongs / belongs.sum(0)).T)
        return (of_image + of_text) / 2, (logits.detach().argmax(1) == owner).float().mean()

    def state_dict(self) -> dict:
        return {
            "step": self.step,
            "loss": self.last_loss,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.step, self.last_loss = state["step"], state["loss"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


class Pretraining(ContrastiveTraining):
    """All of a backbone trains, on images in memory or memory-mapped [N, 3, H, W] uint8."""

    def __init__(
        self, backbone: Backbone, images: np.ndarray, captions: list[str], recipe: PretrainRecipe, seed: int = 0,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        if len(images) != len(captions):
            raise ZsrError(f"pretraining: {len(images)} images and {len(captions)} captions; they must be pairs")
        self.backbone, self.images = backbone, images
        mean, std = statistics(backbone, device)

        def inputs(chosen: np.ndarray) -> Tensor:
            return normalised(images[chosen], mean, std, device)

        super().__init__(backbone.clip, inputs, captions, backbone.tokens, recipe, seed, device)

    def finish(self) -> Backbone:
        """The trained backbone, frozen and in eval mode."""
        self.model.eval().requires_grad_(False)
        return self.backbone


def statistics(backbone: Backbone, device: str) -> tuple[Tensor, Tensor]:
    """Mean and std of a backbone's pixels, ready for images [B, 3, H, W]."""
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (backbone.mean, backbone.std))
    return mean, std


def normalised(images: np.ndarray, mean: Tensor, std: Tensor, device: str) -> Tensor:
    """What an image tower reads of uint8 images; those of a read-only map are copied, which torch would warn of."""
    return (torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device).float().div_(255) - mean) / std


def parts(backbone: Backbone, images: np.ndarray, device: str) -> Iterator[Tensor]:
    """All images of a set as the tower reads them, CHUNK at a time."""
    mean, std = statistics(backbone, device)
    for at in range(0, len(images), CHUNK):
        yield normalised(images[at : at + CHUNK], mean, std, device)


def caption_table(captions: list[str]) -> tuple[list[str], np.ndarray]:
    """The K different captions, and which of them each image has [N, alternatives]."""
    split = [caption.split(BETWEEN) for caption in captions]
    alternatives = len(split[0])
    if any(len(entry) != alternatives for entry in split):
        raise ZsrError("pretraining: all images must have equally many captions, joined by ' | '")
    known: dict[str, int] = {}
    choices = np.array([[known.setdefault(caption, len(known)) for caption in entry] for entry in split])
    return list(known), choices


def make_optimizer(model: nn.Module, recipe: PretrainRecipe) -> torch.optim.AdamW:
    """Weight decay on matrices; none on gains, biases, embeddings of position, and the temperature."""
    matrices = [p for name, p in model.named_parameters() if p.ndim >= 2 and "positional" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim < 2 or "positional" in name]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, recipe.beta2), eps=1e-6, foreach=True)

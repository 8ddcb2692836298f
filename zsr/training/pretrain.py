"""CLIP's contrastive pretraining, for the small backbones of the embedded benchmark.

    L = ½ mean_i CE(s·cos(f_i, t_·), u_i) + ½ mean_j H(q_j, softmax_i s·cos(f_i, t_j))

Drawn captions repeat within a batch, and CLIP's loss (Radford et al. 2021) would count an equal caption as a negative.
So the texts of a batch are its U different captions: image i belongs to caption u_i, caption j to all of its images,
q_j uniform over them (UniCL, Yang et al., CVPR 2022, arXiv 2204.03610). Each caption is encoded once.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.backbone import Backbone
from zsr.models.precision import flags
from zsr.training.captions import BETWEEN
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


class Pretraining:
    """One pretraining: call `advance` until `step` is `recipe.steps`; `state_dict` at any step resumes bit for bit.

    The order of images and the choice among their captions are functions of (seed, step): nothing random is stored.
    """

    def __init__(
        self, backbone: Backbone, images: np.ndarray, captions: list[str], recipe: PretrainRecipe, seed: int = 0,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        if len(images) != len(captions):
            raise ZsrError(f"pretraining: {len(images)} images and {len(captions)} captions; they must be pairs")
        if len(images) < recipe.batch:
            raise ZsrError(f"pretraining: {len(images)} images are less than one batch of {recipe.batch}")
        self.backbone, self.images, self.recipe, self.seed, self.device = backbone, images, recipe, seed, device
        self.step = 0
        self.model = backbone.clip.to(device).train()
        self.mean, self.std = statistics(backbone, device)
        self.known, self.choices = caption_table(captions)
        self.tokens = backbone.tokens(self.known)
        self.optimizer = make_optimizer(self.model, recipe)

    @flags()  # a card would round the convolutions of float32 to TF32 unless told
    def advance(self) -> dict[str, float]:
        """One step; returns what is worth logging."""
        recipe = self.recipe
        rate = recipe.lr * warm_cosine(self.step, recipe.warmup, recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, seen = self.loss(self.batch(self.step))
        value = loss.item()
        self.check_finite(value, "loss")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip or math.inf)
        self.check_finite(norm.item(), "gradient")
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(recipe.largest_scale))
        row = {"step": self.step, "loss": value, "lr": rate, "grad_norm": norm.item()}
        row |= {name: figure.item() for name, figure in seen.items()}
        self.step += 1
        return row

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images [B, 3, H, W] normalised, different captions [U, T], and the caption of each image [B]."""
        chosen, different, owner = self.drawn(step)
        return self.inputs(chosen), self.tokens[different].to(self.device), owner.to(self.device)

    def drawn(self, step: int) -> tuple[np.ndarray, Tensor, Tensor]:
        """Places of the images [B], of their different captions [U], and which of these each image has [B]."""
        chosen, epoch, place = self.chosen(step)
        draw = np.random.default_rng([self.seed, epoch, place]).integers(self.choices.shape[1], size=len(chosen))
        captions = torch.from_numpy(self.choices[chosen, draw])  # [B]
        different, owner = captions.unique(return_inverse=True)
        return chosen, different, owner

    def inputs(self, chosen: np.ndarray) -> Tensor:
        """What the image tower reads of some images."""
        return normalised(self.images[chosen], self.mean, self.std, self.device)

    def chosen(self, step: int) -> tuple[np.ndarray, int, int]:
        """The images of a step, its epoch, and its place there."""
        size = self.recipe.batch
        epoch, place = divmod(step, len(self.images) // size)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        return np.sort(order[place * size : (place + 1) * size]), epoch, place

    def check_finite(self, value: float, what: str) -> None:
        """Stop before the weights are spoiled, and say with which images."""
        if not math.isfinite(value):
            raise ZsrError(
                f"pretraining: the {what} is {value} at step {self.step}, images {self.chosen(self.step)[0].tolist()}; "
                "lower lr, or lengthen warmup"
            )

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss, and what is logged beside it."""
        images, tokens, owner = batch
        loss, accuracy = self.contrast(*self.features(images, tokens), owner)
        return loss, {"accuracy": accuracy}

    def features(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Of images [B, D] and of texts [U, D], of unit length."""
        features = F.normalize(self.model.encode_image(images), dim=1)
        return features, F.normalize(self.model.encode_text(tokens), dim=1)

    def contrast(self, features: Tensor, texts: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """The contrastive loss, and how many images find their caption."""
        logits = self.model.logit_scale.exp() * features @ texts.T  # [B, U]
        of_image = F.cross_entropy(logits, owner)
        belongs = F.one_hot(owner, len(texts)).float()  # [B, U]
        of_text = F.cross_entropy(logits.T, (belongs / belongs.sum(0)).T)
        return (of_image + of_text) / 2, (logits.detach().argmax(1) == owner).float().mean()

    def state_dict(self) -> dict:
        """All that the rest depends on."""
        return {"step": self.step, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def finish(self) -> Backbone:
        """The trained backbone, frozen and in eval mode."""
        self.model.eval().requires_grad_(False)
        return self.backbone

    def __iter__(self) -> Iterator[dict[str, float]]:
        while self.step < self.recipe.steps:
            yield self.advance()


def statistics(backbone: Backbone, device: str) -> tuple[Tensor, Tensor]:
    """Mean and std of a backbone's pixels, ready for images [B, 3, H, W]."""
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (backbone.mean, backbone.std))
    return mean, std


def normalised(images: np.ndarray, mean: Tensor, std: Tensor, device: str) -> Tensor:
    """What an image tower reads of uint8 images; those of a read-only map are copied, which torch would warn of."""
    return (torch.from_numpy(np.require(images, requirements="CW")).to(device).float().div_(255) - mean) / std


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

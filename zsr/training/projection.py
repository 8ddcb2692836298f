"""The projection of a dual encoder, learned where none is given: W, b and the temperature; tower and text are fixed.

Features of the images and vectors of their texts are made once; what is left is a linear layer under the contrastive
loss of pretrain.py, seconds for tens of thousands of images. A tenth of the images is held out, and says how many
of them find their text.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.backbone import Backbone, ClipModel
from zsr.models.kinds.dual import Dual
from zsr.models.precision import flags
from zsr.models.resize import pair, resized
from zsr.training.captions import BETWEEN, all_texts
from zsr.training.checkpoint import Checkpoint
from zsr.training.loop import Row, run_training
from zsr.training.pretrain import CHUNK, ContrastiveTraining, PretrainRecipe, parts


@dataclass(frozen=True)
class JoinRecipe(PretrainRecipe):
    """That of pretraining, for a linear layer."""

    steps: int = 1000
    batch: int = 256
    lr: float = 1e-3
    warmup: int = 50
    scale: float = 14.3  # the temperature to begin with, CLIP's 1 / 0.07


@dataclass(frozen=True)
class FrozenPairs:
    """What is learned from: fixed image features, the different texts, and which texts belong to each image."""

    features: Tensor  # [N, F]
    texts: list[str]  # K different ones
    vectors: Tensor  # [K, D] of unit length
    captions: list[str]  # of each image, alternatives joined by ' | '

    @property
    def mean(self) -> Tensor:
        """Of the different texts' vectors [D]."""
        return self.vectors.mean(0)

    def rows(self, texts: list[str]) -> Tensor:
        """The rows of texts in `vectors`, as the tokens of a text [P, 1]."""
        row_of = {text: row for row, text in enumerate(self.texts)}
        return torch.tensor([[row_of[text]] for text in texts])


@flags()
def frozen_pairs(backbone: Backbone, images: np.ndarray, captions: list[str], device: str, resize: str) -> FrozenPairs:
    """Features of all images and vectors of all texts, each once."""
    clip = dual(backbone).to(device).eval()
    size = pair(backbone.image_size)
    texts = all_texts(captions)
    if len(texts) < 2:
        raise ZsrError(f"projection: all images have one text, '{texts[0]}'; there is nothing to tell apart")
    features, vectors = [], []
    with torch.no_grad():
        for part in parts(backbone, images, device):
            features.append(clip.visual.trunk(resized(part, size, resize)).cpu())
        for at in range(0, len(texts), CHUNK):
            tokens = backbone.tokens(texts[at : at + CHUNK]).to(device)
            vectors.append(F.normalize(clip.text(tokens), dim=1).cpu())
    return FrozenPairs(torch.cat(features), texts, torch.cat(vectors), captions)


class Head(ClipModel):
    """The projection as a dual encoder: its images are features, the tokens of a text are the row of its vector."""

    vectors: Tensor

    def __init__(self, projection: nn.Linear, vectors: Tensor, scale: float) -> None:
        super().__init__()
        self.visual = projection
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.register_buffer("vectors", vectors, persistent=False)

    def encode_text(self, text: Tensor) -> Tensor:
        return self.vectors[text[:, 0]]


class ProjectionTraining(ContrastiveTraining):
    """Trains the projection of a dual encoder in place, on nine tenths of the pairs."""

    name = "projection"

    def __init__(
        self, backbone: Backbone, given: FrozenPairs, recipe: JoinRecipe, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.clip, self.given = dual(backbone), given
        learned, self.held_out = split(len(given.captions), seed)
        features = given.features[torch.from_numpy(learned)]
        with torch.no_grad():
            self.clip.text_mean.copy_(given.mean)
        head = Head(self.clip.visual.proj, given.vectors - given.mean, recipe.scale)

        def inputs(chosen: np.ndarray) -> Tensor:
            return features[torch.from_numpy(chosen)].to(device)

        captions = [given.captions[i] for i in learned]
        super().__init__(head, inputs, captions, given.rows, recipe, seed, device)

    def finish(self) -> dict[str, float]:
        """Test the projection on the held-out images, and write the temperature into the dual encoder."""
        self.model.eval()
        tested = self.test()
        with torch.no_grad():
            self.clip.logit_scale.copy_(self.model.logit_scale)
        self.clip.cpu().eval()
        return tested

    def test(self) -> dict[str, float]:
        """How many held-out images find one of their texts among the first texts of all held-out images."""
        first = self.given.rows([self.given.captions[i].partition(BETWEEN)[0] for i in self.held_out])[:, 0]
        candidates = first.unique()
        images = self.given.features[torch.from_numpy(self.held_out)].to(self.device)
        with torch.no_grad():
            features = F.normalize(self.model.visual(images), dim=1)
            texts = F.normalize(self.model.encode_text(candidates[:, None].to(self.device)), dim=1)
            nearest = candidates[(features @ texts.T).argmax(1).cpu()]
        right = (nearest == first).float().mean().item()
        return {"images": len(first), "texts": len(candidates), "accuracy": round(right, 4)}


def learn_projection(
    backbone: Backbone, images: np.ndarray, captions: list[str], recipe: JoinRecipe, *,
    resize: str, seed: int, device: str, checkpoint: Checkpoint, log: Callable[[Row], None],
) -> dict:  # fmt: skip
    """Learn a dual encoder's projection in place; returns the facts of its record."""
    given = frozen_pairs(backbone, images, captions, device, resize)
    training = ProjectionTraining(backbone, given, recipe, seed, device)
    run_training(training, checkpoint, log)
    return {"held_out": training.finish(), "texts": len(given.texts), "final_loss": training.last_loss}


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(nine tenths to learn from, a tenth to test on), by seed."""
    order = np.random.default_rng([seed, 29]).permutation(count)
    return np.sort(order[count // 10 :]), np.sort(order[: count // 10])


def dual(backbone: Backbone) -> Dual:
    """The dual encoder that a projection is learned for."""
    if not isinstance(backbone.clip, Dual):
        raise TypeError(f"a dual encoder made of parts is wanted, this is a {type(backbone.clip).__name__}")
    return backbone.clip

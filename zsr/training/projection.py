"""The projection of a dual encoder, learned where none is given: W, b and the temperature; tower and text are fixed.

Features of the images and vectors of their texts are made once; what is left is a linear layer under the contrastive
loss of pretrain.py, seconds for tens of thousands of images. A tenth of the images is held out, and says how many
of them find their text.
"""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.backbone import Backbone
from zsr.models.precision import flags
from zsr.models.resize import pair, resized
from zsr.training.captions import BETWEEN, all_texts
from zsr.training.pretrain import CHUNK, Pretraining, PretrainRecipe, parts

if TYPE_CHECKING:
    from zsr.models.kinds.dual import Dual


@dataclass(frozen=True)
class JoinRecipe(PretrainRecipe):
    """That of pretraining, for a linear layer."""

    steps: int = 1000
    batch: int = 256
    lr: float = 1e-3
    warmup: int = 50
    scale: float = 14.3  # the temperature to begin with, CLIP's 1 / 0.07


@dataclass(frozen=True)
class Pairs:
    """What is learned from: fixed image features, the different texts, and which texts belong to each image."""

    features: Tensor  # [N, F]
    texts: list[str]  # K different ones
    vectors: Tensor  # [K, D] of unit length
    captions: list[str]  # of each image, alternatives joined by ' | '

    @property
    def mean(self) -> Tensor:
        """Of the different texts' vectors [D]."""
        return self.vectors.mean(0)


class Head(nn.Module):
    """What trains, in the form that Pretraining trains: features in place of images, places in place of words."""

    def __init__(self, proj: nn.Linear, texts: Tensor, scale: float) -> None:
        super().__init__()
        self.proj = proj
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.register_buffer("texts", texts, persistent=False)

    def encode_image(self, features: Tensor) -> Tensor:
        return self.proj(features)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.texts[tokens[:, 0]]


class Joining(Pretraining):
    """Pretraining of the projection alone; its `images` are features."""

    def inputs(self, chosen: np.ndarray) -> Tensor:
        return self.images[torch.from_numpy(chosen)].to(self.device)


@flags()
def pairs(backbone: Backbone, images: np.ndarray, captions: list[str], device: str, resize: str) -> Pairs:
    """Features of all images and vectors of all texts, each once."""
    clip = backbone.clip.to(device).eval()
    size = pair(backbone.image_size)
    texts = all_texts(captions)
    features, vectors = [], []
    with torch.no_grad():
        for part in parts(backbone, images, device):
            features.append(clip.visual.trunk(resized(part, size, resize)).cpu())
        for at in range(0, len(texts), CHUNK):
            tokens = backbone.tokens(texts[at : at + CHUNK]).to(device)
            vectors.append(F.normalize(clip.text(tokens), dim=1).cpu())
    if len(texts) < 2:
        raise ZsrError(f"projection: all images have one text, '{texts[0]}'; there is nothing to tell apart")
    return Pairs(torch.cat(features), texts, torch.cat(vectors), captions)


def held_out(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(nine tenths to learn from, a tenth to look at), by seed."""
    order = np.random.default_rng([seed, 29]).permutation(count)
    return np.sort(order[count // 10 :]), np.sort(order[: count // 10])


def joining(clip: "Dual", given: Pairs, recipe: JoinRecipe, seed: int, device: str) -> Joining:
    """The training of `clip`'s own projection, which it fills in place."""
    learned, _ = held_out(len(given.captions), seed)
    with torch.no_grad():
        clip.text_mean.copy_(given.mean)
    head = Head(clip.visual.proj, given.vectors - given.mean, recipe.scale).to(device)
    place = {text: i for i, text in enumerate(given.texts)}
    stands = SimpleNamespace(
        clip=head, mean=(0.0,), std=(1.0,), tokens=lambda texts: torch.tensor([[place[text]] for text in texts])
    )
    captions = [given.captions[i] for i in learned]
    return Joining(stands, given.features[learned], captions, recipe, seed, device)


def check(head: Head, given: Pairs, seed: int) -> dict[str, float]:
    """How many held-out images find one of their texts among the first texts of all held-out images, and chance."""
    _, rest = held_out(len(given.captions), seed)
    place = {text: i for i, text in enumerate(given.texts)}
    first = torch.tensor([place[given.captions[i].partition(BETWEEN)[0]] for i in rest])
    candidates = first.unique()
    device = head.logit_scale.device
    with torch.no_grad():
        found = F.normalize(head.encode_image(given.features[rest].to(device)), dim=1)
        texts = F.normalize(head.encode_text(candidates[:, None].to(device)), dim=1)
        nearest = candidates[(found @ texts.T).argmax(1).cpu()]
    right = (nearest == first).float().mean().item()
    return {"images": len(rest), "texts": len(candidates), "accuracy": round(right, 4)}

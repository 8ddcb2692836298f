"""Pretraining with a teacher: the student's two towers also learn where another dual encoder puts images and texts.

    L = L_contrastive + weight · [mean_i (1 - cos(f_i, F_i)) + mean_j (1 - cos(t_j, T_j))]

f and t are the student's features, F and T the teacher's of the same image and the same text; contrastive is the loss
of pretrain.py. This is the feature mimicry of CLIP-KD (Yang et al., CVPR 2024, arXiv 2307.12732): the squared
distance of unit vectors is 2 - 2 cos. A target of its own says more of an image than a caption that hundreds share.
Texts beyond the source have no image here: they stand in the second mean alone.

The teacher is asked once, before the first step: N·D floats, 31 MB for 20,000 images of 384. A training that goes on
asks it again: the checkpoint holds the student alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.errors import ZsrError
from zsr.models.backbone import Backbone
from zsr.models.precision import flags
from zsr.training.pretrain import CHUNK, Pretraining, PretrainRecipe, parts


@dataclass(frozen=True)
class DistilRecipe(PretrainRecipe):
    """That of pretraining, and how much the teacher counts."""

    weight: float = 1.0  # of both cosines
    text_batch: int = 64  # further texts of one step, drawn from those beyond the source; fewer where there are fewer


@dataclass(frozen=True)
class Taught:
    """What a teacher says, of unit length: of each image, and of each text."""

    images: Tensor  # [N, D]
    texts: dict[str, int]  # text -> its row of `vectors`
    vectors: Tensor  # [K, D]


@dataclass(frozen=True)
class Batch:
    """One step: images and captions as in plain pretraining, further texts, and the teacher's word on all of them."""

    images: Tensor  # [B, 3, H, W]
    tokens: Tensor  # [U + V, T], captions before further texts
    owner: Tensor  # [B], the caption of each image
    of_images: Tensor  # [B, D]
    of_texts: Tensor  # [U + V, D]
    captions: int  # U


def check_student(teacher: Backbone, student: Backbone, texts: list[str]) -> None:
    """Refuse a student that cannot follow, before the teacher is asked: another width, words that it does not read."""
    if teacher.embed_dim != student.embed_dim:
        raise ZsrError(
            f"teacher: its features have {teacher.embed_dim} dimensions, the student's {student.embed_dim}; take an "
            "`arch` with that embed_dim, or another teacher"
        )
    student.tokens(texts)


@flags()
def ask(
    teacher: Backbone, images: np.ndarray, texts: list[str], device: str, told: Callable[[], None] = lambda: None
) -> Taught:
    """A teacher's features of all images and texts, each once; `told` hears of each chunk of images."""
    clip = teacher.clip.to(device).eval()
    features, vectors = [], []
    with torch.no_grad():
        for at in range(0, len(texts), CHUNK):  # first: a text that it cannot take is found at once
            vectors.append(F.normalize(teacher.encode_text(texts[at : at + CHUNK]).float(), dim=1).cpu())
        for part in parts(teacher, images, device):
            features.append(F.normalize(clip.encode_image(part).float(), dim=1).cpu())
            told()
    found = Taught(torch.cat(features), {text: i for i, text in enumerate(texts)}, torch.cat(vectors))
    for what, rows in (("image", found.images), ("text", found.vectors)):
        bad = (~torch.isfinite(rows).all(1)).nonzero()
        if len(bad):
            raise ZsrError(f"teacher: its feature of {what} {int(bad[0])} is not finite; take another teacher")
    return found


class Distilling(Pretraining):
    """Pretraining whose loss also follows a teacher's features. They are fixed: all that trains is the student."""

    def __init__(
        self, backbone: Backbone, images: np.ndarray, captions: list[str], taught: Taught, beyond: list[str],
        recipe: DistilRecipe, seed: int = 0, device: str = "cpu",
    ) -> None:  # fmt: skip
        if len(taught.images) != len(images):
            raise ZsrError(f"pretraining: {len(images)} images and {len(taught.images)} features of the teacher")
        super().__init__(backbone, images, captions, recipe, seed, device)
        self.taught = taught
        said = [taught.texts[text] for text in self.known]
        self.of_captions = taught.vectors[said]  # [K, D], as the rows of `tokens`
        known = set(self.known)
        new = [text for text in dict.fromkeys(beyond) if text not in known]
        self.further = backbone.tokens(new) if new else self.tokens[:0]
        self.of_further = taught.vectors[[taught.texts[text] for text in new]]

    def batch(self, step: int) -> Batch:
        """The batch of plain pretraining, further texts drawn by (seed, step), and the teacher's features."""
        chosen, different, owner = self.drawn(step)
        rng = np.random.default_rng([self.seed, step, 31])
        count = min(self.recipe.text_batch, len(self.further))
        more = torch.from_numpy(rng.permutation(len(self.further))[:count])
        tokens = torch.cat([self.tokens[different], self.further[more]])
        of_texts = torch.cat([self.of_captions[different], self.of_further[more]])
        return Batch(
            self.inputs(chosen), tokens.to(self.device), owner.to(self.device),
            self.taught.images[torch.from_numpy(chosen)].to(self.device), of_texts.to(self.device), len(different),
        )  # fmt: skip

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Contrastive loss and both distances to the teacher; the mean cosines are logged."""
        features, texts = self.features(batch.images, batch.tokens)
        contrastive, accuracy = self.contrast(features, texts[: batch.captions], batch.owner)
        of_images = (features * batch.of_images).sum(1).mean()
        of_texts = (texts * batch.of_texts).sum(1).mean()
        loss = contrastive + self.recipe.weight * ((1 - of_images) + (1 - of_texts))
        seen = {"contrastive": contrastive, "image_cosine": of_images, "text_cosine": of_texts}
        return loss, {"accuracy": accuracy, **{name: value.detach() for name, value in seen.items()}}

"""Pretraining with a teacher: the student's two towers also learn where another dual encoder puts images and texts.

    L = L_contrastive + weight · [mean_i (1 - cos(f_i, F_i)) + mean_j (1 - cos(t_j, T_j))]

f and t are the student's features, F and T the teacher's of the same image and the same text; contrastive is the loss
of pretrain.py. This is the feature mimicry of CLIP-KD (Yang et al., CVPR 2024, arXiv 2307.12732): the squared
distance of unit vectors is 2 - 2 cos. A target of its own says more of an image than a caption that hundreds share.
Texts beyond the source set have no image here: they count in the second mean alone.

The teacher's features are computed once, before the first step: N·D floats, 31 MB for 20,000 images of 384. A training
that goes on computes them again: the checkpoint holds the student alone.
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
from zsr.progress import Progress
from zsr.training.captions import all_texts
from zsr.training.pretrain import CHUNK, PairBatch, Pretraining, PretrainRecipe, parts


@dataclass(frozen=True)
class DistilRecipe(PretrainRecipe):
    """That of pretraining, and how much the teacher counts."""

    weight: float = 1.0  # of both cosines
    text_batch: int = (
        64  # further texts of one step, drawn from those beyond the source set; fewer where there are fewer
    )


@dataclass(frozen=True)
class TeacherTargets:
    """A teacher's features, of unit length: of each image, and of each text."""

    images: Tensor  # [N, D]
    texts: dict[str, int]  # text -> its row of `vectors`
    vectors: Tensor  # [K, D]


def check_student(teacher: Backbone, student: Backbone, texts: list[str]) -> None:
    """Refuse a student of another width, or that cannot read a text, before the teacher's features are computed."""
    if teacher.embed_dim != student.embed_dim:
        raise ZsrError(
            f"teacher: its features have {teacher.embed_dim} dimensions, the student's {student.embed_dim}; take an "
            "`arch` with that embed_dim, or another teacher"
        )
    student.tokens(texts)


@flags()
def compute_targets(
    teacher: Backbone, images: np.ndarray, texts: list[str], device: str, on_chunk: Callable[[], None] = lambda: None
) -> TeacherTargets:
    """A teacher's features of all images and texts, each once; `on_chunk` is called after each chunk of images."""
    clip = teacher.clip.to(device).eval()
    features, vectors = [], []
    with torch.no_grad():
        for at in range(0, len(texts), CHUNK):  # first: a text that the teacher cannot read is refused at once
            vectors.append(F.normalize(teacher.encode_text(texts[at : at + CHUNK]).float(), dim=1).cpu())
        for part in parts(teacher, images, device):
            features.append(F.normalize(clip.visual(part).float(), dim=1).cpu())
            on_chunk()
    targets = TeacherTargets(torch.cat(features), {text: i for i, text in enumerate(texts)}, torch.cat(vectors))
    for what, rows in (("image", targets.images), ("text", targets.vectors)):
        bad = (~torch.isfinite(rows).all(1)).nonzero()
        if len(bad):
            raise ZsrError(f"teacher: its feature of {what} {int(bad[0])} is not finite; take another teacher")
    return targets


class Distillation(Pretraining):
    """Pretraining whose loss also follows a teacher's features. They are constants: only the student trains."""

    recipe: DistilRecipe

    def __init__(
        self, backbone: Backbone, images: np.ndarray, captions: list[str], targets: TeacherTargets, beyond: list[str],
        recipe: DistilRecipe, seed: int = 0, device: str = "cpu",
    ) -> None:  # fmt: skip
        if len(targets.images) != len(images):
            raise ZsrError(f"pretraining: {len(images)} images and {len(targets.images)} features of the teacher")
        super().__init__(backbone, images, captions, recipe, seed, device)
        self.targets = targets
        count, known = len(self.known), set(self.known)
        further = [text for text in dict.fromkeys(beyond) if text not in known]
        self.further = torch.arange(count, count + len(further))  # rows of `tokens`
        if further:
            self.tokens = torch.cat([self.tokens, backbone.tokens(further)])
        self.text_targets = targets.vectors[[targets.texts[text] for text in [*self.known, *further]]]

    def further_texts(self, step: int) -> Tensor:
        """Texts beyond the captions, drawn by (seed, step)."""
        rng = np.random.default_rng([self.seed, step, 31])
        count = min(self.recipe.text_batch, len(self.further))
        return self.further[torch.from_numpy(rng.permutation(len(self.further))[:count])]

    def loss(self, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Contrastive loss and both distances to the teacher; the mean cosines are logged."""
        features, texts = self.features(batch)
        contrastive, accuracy = self.contrast(features, texts[: batch.captions], batch.owner)
        image_targets = self.targets.images[torch.from_numpy(batch.chosen)].to(self.device)
        text_targets = self.text_targets[batch.texts].to(self.device)
        of_images = (features * image_targets).sum(1).mean()
        of_texts = (texts * text_targets).sum(1).mean()
        loss = contrastive + self.recipe.weight * ((1 - of_images) + (1 - of_texts))
        logged = {"contrastive": contrastive, "image_cosine": of_images, "text_cosine": of_texts}
        return loss, {"accuracy": accuracy, **{name: value.detach() for name, value in logged.items()}}


def distillation(
    student: Backbone, images: np.ndarray, captions: list[str], teacher: Backbone, beyond: list[str],
    recipe: DistilRecipe, seed: int, device: str,
) -> Distillation:  # fmt: skip
    """The training of a student by a teacher, whose features are computed here; the teacher itself is not kept."""
    texts = all_texts(captions, beyond)
    check_student(teacher, student, texts)
    progress = Progress("teacher", -(-len(images) // CHUNK))
    targets = compute_targets(teacher, images, texts, device, progress.step)
    return Distillation(student, images, captions, targets, beyond, recipe, seed, device)

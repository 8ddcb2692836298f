"""The source set of a fine-tuning. A module of its own: methods name it, and must not depend on the training loop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsr.errors import ZsrError


@dataclass
class SourceSet:
    """The source set in memory or memory-mapped."""

    images: np.ndarray  # [N, 3, H, W] uint8
    labels: np.ndarray  # [N] int64

    def subset(self, count: int, seed: int, shots: int = 0, classes: Sequence[str] = ()) -> "SourceSet":
        """`count` images, or `shots` of each class, drawn by seed; all if both are 0."""
        if count > len(self.labels):
            raise ZsrError(f"finetune.images: {count} is more than the {len(self.labels)} of the source set")
        if shots:
            return self.taken(self.few(shots, seed, classes))
        if not count:
            return self
        return self.taken(np.random.default_rng([seed, 7]).permutation(len(self.labels))[:count])

    def few(self, shots: int, seed: int, classes: Sequence[str] = ()) -> np.ndarray:
        """Indices of `shots` images of each class; fewer shots of the same seed are among them."""
        counts = np.bincount(self.labels, minlength=len(classes))
        if (counts < shots).any():
            poor = int(counts.argmin())
            name = classes[poor] if classes else poor
            raise ZsrError(
                f"finetune.shots: {shots} is more than the {counts[poor]} images of class '{name}' in the source set; "
                f"ask for at most {counts[poor]}, or 0 for all"
            )
        order = np.random.default_rng([seed, 13]).permutation(len(self.labels))
        order = order[np.argsort(self.labels[order], kind="stable")]  # class by class, each in random order
        first = np.cumsum(counts) - counts
        return np.concatenate([order[at : at + shots] for at in first])

    def taken(self, chosen: np.ndarray) -> "SourceSet":
        """The chosen images, in the order of the set."""
        chosen = np.sort(chosen)
        images = self.images.select(chosen) if hasattr(self.images, "select") else self.images[chosen]  # encoded or not
        return SourceSet(images, self.labels[chosen])

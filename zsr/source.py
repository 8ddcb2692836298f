"""The source set of a fine-tuning. A module of its own: methods name it, and must not depend on the training loop."""

from dataclasses import dataclass

import numpy as np

from zsr.errors import ZsrError


@dataclass
class Source:
    """The source set in memory or memory-mapped."""

    images: np.ndarray  # [N, 3, H, W] uint8
    labels: np.ndarray  # [N] int64

    def subset(self, count: int, seed: int) -> "Source":
        """`count` images drawn by seed, all if it is 0."""
        if count > len(self.labels):
            raise ZsrError(f"finetune.images: {count} is more than the {len(self.labels)} of the source set")
        if not count:
            return self
        chosen = np.sort(np.random.default_rng([seed, 7]).permutation(len(self.labels))[:count])
        return Source(self.images[chosen], self.labels[chosen])

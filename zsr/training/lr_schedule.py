"""The learning rate over a training, for pretraining and fine-tuning alike."""

import math


def warm_cosine(step: int, warmup: int, steps: int) -> float:
    """The share of the learning rate at a step: (step + 1) / warmup, then half a cosine from 1 to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

"""The recipe of adversarial fine-tuning that all methods share; the config's `finetune`, and a model's `recipe`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """Defaults are those of the papers on CLIP ViT-B/32 (TeCoA, PMG-AFT, TGA-ZSR)."""

    epochs: float = 10.0  # passes over the source set; may be a fraction
    images: int = 0  # use only so many source images, drawn by seed; 0 is all
    shots: int = 0  # use only so many source images of each class, drawn by the model's seed; 0 is all
    batch: int = 256
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 1e-5
    momentum: float = 0.9  # SGD's momentum, AdamW's β1
    weight_decay: float = 0.0
    warmup: int = 1000  # steps of linear warm-up (at most a fifth of all), then cosine to zero
    clip: float = 0.0  # largest gradient norm; 0 is off
    batchnorm: Literal["train", "eval"] = "train"  # how BatchNorm normalises in the update; attacks always see eval
    amp: Literal["off", "fp16", "bf16"] = "off"  # autocast of attack and update, on CUDA only; weights stay fp32
    attack_steps: int = 2  # PGD steps of the inner attack
    attack_alpha: float = 1.0  # its step size, in units of ε
    processes: int = 1  # that share each batch, with one GPU each on CUDA, on one machine (zsr/training/distributed.py)

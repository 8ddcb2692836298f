"""AdvMaPLe: MaPLe's prompts under TeCoA's loss (a rival in FAP, arXiv 2403.14774, appendix C.1; MaPLe: 2210.03117).

    image_j = W_j·text_j + b_j  for the first J layers         L = CE(x_a, y)         attack: the same loss

The words and the maps train; the image's vectors are made of the words'.

Paper: ViT-B/32, M = 2, J = 9, "a photo of a", SGD 0.0035, 10 epochs, PGD-2 with ε = α = 1/255: 64.24 clean and 32.98
robust over 11 sets with 16 shots; 48.03 and 23.93 from ImageNet to the others.
"""

from dataclasses import dataclass
from typing import ClassVar

from zsr.methods.core.text_prompts import BimodalPrompts


@dataclass(frozen=True)
class AdvMaPLe(BimodalPrompts):
    """Cross-entropy of adversarial images; prompts of both towers, coupled from text to image."""

    coupling: ClassVar[str] = "text-to-image"

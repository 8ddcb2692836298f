"""AdvVLP: independent prompts in both towers under TeCoA's loss (a rival in FAP, arXiv 2403.14774, appendix C.1).

    L = CE(x_a, y)         attack: the same loss         text_j and image_j, j < J, train apart

Paper: ViT-B/32, M = 2, J = 9, "a photo of a", SGD 0.0035, 10 epochs, PGD-2 with ε = α = 1/255: 58.62 clean and 30.84
robust over 11 sets with 16 shots; 48.22 and 23.25 from ImageNet to the others. MAPT's code (AdvIVLP): 100 epochs.
"""

from dataclasses import dataclass

from zsr.methods.core.text_prompts import BimodalPrompts


@dataclass(frozen=True)
class AdvVLP(BimodalPrompts):
    """Cross-entropy of adversarial images; prompts of both towers, independent."""

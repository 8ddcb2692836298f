"""AdvTP: adversarial text prompts (CoOp under TeCoA's loss; a rival in FAP, arXiv 2403.14774, appendix C.1).

    min_V mean -log softmax_c( s·cos(f(x_a), g(V_1 … V_M, name_c)) )_y         attack: the same loss

Paper: M = 16, SGD 0.002, 200 epochs, PGD-2 with ε = α = 1/255, on a clean CLIP ViT-B/32: 60.73 clean and 6.42 robust
over 11 sets with 16 shots: words do not defend an image tower that was never trained to be robust. It differs from
`apt` by that tower, and by PGD-2 in place of PGD-3.
"""

from dataclasses import dataclass

from zsr.methods.core.text_prompts import TextPrompts


@dataclass(frozen=True)
class AdvTP(TextPrompts):
    """Cross-entropy of adversarial images; words train."""

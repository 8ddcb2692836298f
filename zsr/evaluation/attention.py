"""Where a VisionTransformer's class token looks: its attention weights in the last layer, mean over the heads."""

from typing import Any

import torch
from torch import Tensor, nn


def class_attention(visual: nn.Module, net_input: Tensor) -> Tensor | None:
    """[B, rows, columns], each map of an image summing to at most 1; None for a tower without a class token.

    open_clip asks its attention for no weights, so the last layer's input is caught and its attention is done again
    with them: one layer of one forward more. Prompts behind the patches take their share and are not shown.
    """
    tower: Any = getattr(visual, "visual", visual)  # prompts hold the tower as `.visual`
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
    if not blocks or getattr(tower, "class_embedding", None) is None:
        return None
    block, caught = blocks[-1], []
    handle = block.attn.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    try:
        with torch.no_grad():
            visual(net_input)
            weights = block.attn(*[caught[0]] * 3, need_weights=True, average_attn_weights=True)[1]  # [B, L, L]
    finally:
        handle.remove()
    rows, columns = vars(tower)["grid_size"]
    return weights[:, 0, 1 : 1 + rows * columns].view(-1, rows, columns)

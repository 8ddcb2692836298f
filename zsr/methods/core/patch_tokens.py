"""What a VisionTransformer of open_clip saw where: projected patch tokens, and maps of their likeness to a text."""

from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

AXES = {"tokens": 1, "features": 2}  # what `normalise` may be -> the axis of [B, 1 + P, D] that gets unit length


def require(visual: nn.Module, method: str) -> None:
    """One line, before anything is computed, for a tower without a class token and patch tokens behind `ln_post`."""
    from open_clip.transformer import VisionTransformer  # late: only what trains with patches needs it

    if not isinstance(visual, VisionTransformer):
        raise ZsrError(
            f"{method}: needs the patch tokens of a VisionTransformer, this backbone's image tower is a "
            f"{type(visual).__name__}; leave the method out for it (`backbones` of the model's entry)"
        )
    usual = visual.pool_type == "tok" and visual.attn_pool is None and not visual.final_ln_after_pool
    if not usual or visual.proj is None or not isinstance(visual.patch_dropout, nn.Identity):
        raise ZsrError(f"{method}: needs a VisionTransformer that pools by its class token, without patch dropout")


def look(visual: "VisionTransformer", net_input: Tensor) -> tuple[Tensor, Tensor]:
    """(features [B, D], projected patch tokens [B, P, D]) of one forward; the features are those of `visual(…)`."""
    seen = visual.forward_intermediates(net_input, indices=1, normalize_intermediates=True, output_fmt="NLC")
    return seen["image_features"], seen["image_intermediates"][-1] @ visual.proj


def grid_of(visual: "VisionTransformer") -> tuple[int, int]:
    """Rows and columns of the patches."""
    return visual.grid_size


def guided(features: Tensor, patches: Tensor, texts: Tensor, normalise: str) -> Tensor:
    """Attention of each image to its own text [B, D]: likeness of the patches [B, P], scaled to [0, 1] per image.

    `tokens` is the authors' code: each of the D channels is divided by its norm over the tokens, class token included.
    `features` is the usual cosine.
    """
    tokens = torch.cat([features[:, None], patches], 1).float()  # [B, 1 + P, D]
    tokens = F.normalize(tokens, dim=AXES[normalise])
    likeness = (tokens[:, 1:] * texts[:, None]).sum(2)
    low, high = likeness.amin(1, keepdim=True), likeness.amax(1, keepdim=True)
    return (likeness - low) / (high - low).clamp_min(1e-12)


@cache
def upsampling(grid: int, size: int) -> Tensor:
    """U [size, grid]: bilinear interpolation along one side, as F.interpolate does it (align_corners=False)."""
    return F.interpolate(torch.eye(grid, dtype=torch.float64)[None], size=size, mode="linear")[0].T.contiguous()


@cache
def short(grid: int, size: int) -> Tensor:
    """R [grid, grid] with ||R d||_2 = ||U d||_2 for every d: the triangle of U's QR decomposition."""
    return torch.linalg.qr(upsampling(grid, size)).R


def map_distance(one: Tensor, other: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """|| up(one) - up(other) ||_2 [B] of maps [B, P] resized to size × size, without making the large maps.

    Resizing is linear and acts on rows and columns apart: up(d) = U d Uᵀ, and its norm is that of R d Rᵀ: P numbers
    per image in place of 50,176. The norm's gradient is 0 where the maps are equal, as at the first step.
    """
    difference = (one - other).double().view(-1, *grid)  # few numbers; and autocast leaves float64 alone
    rows, columns = (short(side, size).to(difference.device) for side in grid)
    return torch.linalg.vector_norm((rows @ difference @ columns.T).flatten(1), dim=1).to(one.dtype)


def resized(attention: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """Maps [B, P] -> [B, size, size]."""
    rows, columns = (upsampling(side, size).to(attention) for side in grid)
    return rows @ attention.view(-1, *grid) @ columns.T

"""Random views of images in the manner of SimCLR: crop and resize, flip, colour jitter; a function of (seed, step)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

AREA = (0.2, 1.0)  # share of the image that a crop keeps
RATIO = (3 / 4, 4 / 3)  # its width over its height
JITTER = 0.4  # brightness, contrast and saturation are scaled by 1 ± JITTER


def augment(images: Tensor, seed: int, step: int, part: int = 0, parts: int = 1) -> Tensor:
    """One view [B, 3, H, W] of each image in [0, 1]; random numbers are drawn on the CPU, so equal on every device.

    `images` may be one of several equal parts of a batch: an image's view is that of its place in the whole.
    """
    random = np.random.default_rng([seed, 13, step])
    drawn = random.random((parts, len(images), 8), np.float32)[part]
    drawn = torch.from_numpy(drawn).to(images.device)
    area = AREA[0] + (AREA[1] - AREA[0]) * drawn[:, 0]
    low, high = torch.tensor(RATIO).log().tolist()
    ratio = (low + (high - low) * drawn[:, 1]).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)  # shares of the sides
    left, top = (1 - width) * (2 * drawn[:, 2] - 1), (1 - height) * (2 * drawn[:, 3] - 1)  # centre in [-1, 1]
    flip = torch.where(drawn[:, 4] < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(width)
    rows = torch.stack([width * flip, zero, left]), torch.stack([zero, height, top])
    grid = F.affine_grid(torch.stack(rows).permute(2, 0, 1), list(images.shape), align_corners=False)
    views = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    factors = (1 + JITTER * (2 * drawn[:, 5:] - 1)).view(-1, 3, 1, 1, 1)  # [B, 3, 1, 1, 1]
    views = views * factors[:, 0]
    mean = views.mean((1, 2, 3), keepdim=True)
    views = mean + (views - mean) * factors[:, 1]
    grey = views.mean(1, keepdim=True)
    return (grey + (views - grey) * factors[:, 2]).clamp(0, 1)

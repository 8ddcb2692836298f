"""Image-level visual prompt: a learned frame of pixels on every image, with TeCoA's loss (Mao et al., ICLR 2023, A.6).

    x <- normalise(x) + P,    P trains on a border of `width` pixels and is 0 inside

The frame is added after CLIP's normalisation and starts from N(0, 1), shared by all images; it works for any tower.
The attack is in the image, before the frame, everywhere, and sees it.

Paper: width 30 of 224 (40 in FAP's runs), SGD with learning rate 40, PGD-2 with ε = α = 1/255; 20.51 robust over 16
sets, against 32.00 for tokens (figure 6a). `width: 0` is the same share of the side for images of another size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.methods.core.task import Task
from zsr.methods.core.visual_prompts import Prompted, VisualPrompt
from zsr.models.resize import as_seen


class PixelPrompted(Prompted):
    """A tower behind a frame; `prompt` is [3, n], its numbers in the order of `border` (True on the border)."""

    border: Tensor

    def __init__(self, visual: nn.Module, prompt: Tensor, border: Tensor) -> None:
        super().__init__(visual, prompt)
        self.register_buffer("border", border, persistent=False)  # [H, W]

    def forward(self, x: Tensor) -> Tensor:
        return self.visual(framed(self.visual, x, self.border, self.prompt))


@dataclass(frozen=True)
class VPPixel(VisualPrompt):
    """A border of pixels trains, the tower does not."""

    width: int = 0  # pixels; 0 is 30 of 224 of the shorter side

    def check(self, task: Task) -> None:
        height, width = image_size(task.visual)
        if not 0 <= 2 * self.width < min(height, width):
            raise ZsrError(f"vp-pixel: width is {self.width}, the frame does not fit into images of {height} × {width}")

    def wrap(self, visual: nn.Module, seed: int = 0) -> nn.Module:
        return self.framed(visual, seed)

    def framed(self, visual: nn.Module, seed: int) -> PixelPrompted:
        """The tower behind a frame before training."""
        sides = image_size(visual)
        width = self.width or max(1, round(30 / 224 * min(sides)))
        border = torch.ones(sides, dtype=torch.bool)
        border[width:-width, width:-width] = False
        prompt = torch.randn(3, int(border.sum()), generator=torch.Generator().manual_seed(seed))
        return PixelPrompted(visual, prompt, border)


def framed(visual: nn.Module, x: Tensor, border: Tensor, prompt: Tensor) -> Tensor:
    """Normalised images at the tower's size with the prompt's numbers [3, n] on their border."""
    frame = torch.zeros(3, *border.shape, dtype=x.dtype, device=x.device)
    frame[:, border] = prompt.to(x.dtype)
    return as_seen(visual, x) + frame


def image_size(visual: nn.Module) -> tuple[int, int]:
    """Height and width of the tower's input; open_clip writes them as one number or as two."""
    size = getattr(visual, "image_size", None)
    if size is None:
        raise ZsrError(f"vp-pixel: the image tower {type(visual).__name__} does not say its image size")
    return (size, size) if isinstance(size, int) else tuple(size)

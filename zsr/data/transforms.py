"""Resizes and crops a decoded picture to the square that is attacked, as each protocol says.

    native              as it is; all images of the set have one size
    224                 shorter side to 224 (bicubic), centre 224 × 224: CLIP's and open_clip's own
    224-bilinear        the same, bilinear: AGFT's
    256-224-bilinear    shorter side to 256 (bilinear), centre 224 × 224: torchvision's classic, TeCoA's and PMG-AFT's
    squash-224-bilinear both sides to 224: TGA-ZSR on CIFAR and STL-10

A protocol may also name a code family (`PAPERS`): each dataset then gets what that family's code does with it.
Sizes and offsets round as torchvision's do, and Pillow resamples, so the bits are those of torchvision and open_clip.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zsr.errors import ZsrError, unknown

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

# what a family does with any dataset whose definition does not say otherwise (`transforms`)
PAPERS = {"tecoa": "256-224-bilinear", "tga": "256-224-bilinear", "agft": "224-bilinear", "openclip": "224"}
FORM = re.compile(r"(squash-)?(?:(\d+)-)?(\d+)(-bilinear|-bicubic)?")


@dataclass(frozen=True)
class Transform:
    """Resize, then crop the centre; with `side` None the image stays as it is."""

    side: int | None = None
    resize: int | None = None
    squash: bool = False
    bicubic: bool = True

    def __call__(self, image: "Image") -> "Image":
        """Apply to a PIL image."""
        from PIL.Image import Resampling

        size = self.resized(*image.size)
        if self.side is None or size is None:
            return image
        method = Resampling.BICUBIC if self.bicubic else Resampling.BILINEAR
        if self.squash:
            return image.resize(size, method)
        if size != image.size:
            image = image.resize(size, method)
        left, top = round((size[0] - self.side) / 2.0), round((size[1] - self.side) / 2.0)
        return image.crop((left, top, left + self.side, top + self.side))

    def resized(self, width: int, height: int) -> tuple[int, int] | None:
        """What a picture is resized to before it is cropped; None: it stays as it is."""
        if self.side is None or self.resize is None:
            return None
        if self.squash:
            return self.side, self.side
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def batch(self, images: "np.ndarray") -> "np.ndarray":
        """[n, 3, H, W] uint8 -> [n, 3, side, side]."""
        import numpy as np
        from PIL import Image

        pictures = (Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in images)
        return np.stack([np.asarray(self(picture)).transpose(2, 0, 1) for picture in pictures])


def parse(name: str, where: str = "transform") -> Transform:
    """The transform of a name; names of code families are resolved before (`choose`)."""
    if name == "native":
        return Transform()
    match = FORM.fullmatch(name)
    if not match:
        raise unknown("transform", name, ("native", "224", "256-224-bilinear", *PAPERS), where)
    side = int(match[3])
    resize = int(match[2] or side)
    if not 8 <= side <= resize <= 4096 or (match[1] and match[2]):
        raise ZsrError(f"{where}: '{name}' has no sense; the crop (last) is at most the resize, both from 8 to 4096")
    return Transform(side, resize, bool(match[1]), match[4] != "-bilinear")


def choose(name: str, exceptions: Mapping[str, str], size: int | str | None, where: str) -> str:
    """What `name` (a transform or a family of papers) means for a dataset, whose images have this size.

    `exceptions`: what a family does with this dataset alone.
    """
    if name in PAPERS:
        name = exceptions.get(name, PAPERS[name])
    if parse(name, where).side is None and size == "varied":
        raise ZsrError(f"{where}: its images differ in size; write transform: 224, 256-224-bilinear, or a paper's name")
    return name


def pixels(name: str, size: int | str | None) -> int | None:
    """Bytes of one prepared image of a dataset, whose images have this size; None where only the source knows."""
    side = parse(name).side or size
    return 3 * side * side if isinstance(side, int) else None

"""Transforms to the last bit: torchvision's and open_clip's own, on pictures of many shapes."""

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torchvision import transforms as T

from zsr.config.datasets import definition, transform_of
from zsr.data.transforms import Transform, parse
from zsr.errors import ZsrError

SHAPES = [
    (500, 375),
    (375, 500),
    (224, 224),
    (256, 256),
    (257, 256),
    (301, 223),
    (32, 32),
    (64, 64),
    (225, 1000),
    (96, 40),
]
TORCHVISION = {
    "224": [T.Resize(224, T.InterpolationMode.BICUBIC), T.CenterCrop(224)],
    "224-bilinear": [T.Resize(224), T.CenterCrop(224)],
    "256-224-bilinear": [T.Resize(256), T.CenterCrop(224)],
    "squash-224-bilinear": [T.Resize((224, 224))],
    "336": [T.Resize(336, T.InterpolationMode.BICUBIC), T.CenterCrop(336)],
}


def picture(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(size).integers(0, 256, (size[1], size[0], 3), np.uint8))


@pytest.mark.parametrize("name", TORCHVISION)
def test_bits_of_torchvision(name: str):
    mine, theirs = parse(name), T.Compose(TORCHVISION[name])
    for size in SHAPES:
        assert np.array_equal(np.asarray(mine(picture(size))), np.asarray(theirs(picture(size)))), size


def test_bits_of_open_clip():
    mean, std = torch.tensor([0.0] * 3), torch.tensor([1.0] * 3)
    theirs = open_clip.image_transform(224, is_train=False, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    for size in SHAPES:
        wanted = theirs(picture(size))
        found = torch.from_numpy(np.asarray(parse("224")(picture(size))).copy()).permute(2, 0, 1).float().div(255)
        assert torch.equal(found, wanted), size


def test_native_and_batches():
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 20, 30), np.uint8)
    assert parse("native") == Transform()
    wanted = [np.asarray(parse("16")(Image.fromarray(image.transpose(1, 2, 0)))) for image in images]
    assert np.array_equal(parse("16").batch(images), np.stack(wanted).transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("family", "dataset", "wanted"),
    [
        ("tecoa", "cifar10", "native"),
        ("tecoa", "stl10", "native"),
        ("tecoa", "imagenet", "256-224-bilinear"),
        ("tecoa", "tiny-imagenet", "256-224-bilinear"),
        ("tga", "cifar100", "squash-224-bilinear"),
        ("agft", "dtd", "224-bilinear"),
        ("openclip", "cifar10", "224"),
        ("224", "pcam", "224"),
    ],
)
def test_what_the_papers_do(family: str, dataset: str, wanted: str):
    assert transform_of(definition([], dataset, "x"), family, "x") == wanted


def test_mistakes():
    with pytest.raises(ZsrError, match="its images differ in size"):
        transform_of(definition([], "dtd", "x"), "native", "x")
    for wrong in ("244px", "224-256", "squash-256-224", "4"):
        with pytest.raises(ZsrError):
            parse(wrong)

"""What the gallery shows of one cell: images before and after, what the model said of them, and where it looked."""

import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from zsr.evaluation.attention import class_attention

TOP = 5
SIDE = 80  # pixels of a picture in the page; larger images are averaged down


@dataclass
class Look:
    """One image of one cell."""

    before: list[tuple[int, float]]  # the most probable classes on the clean image
    after: list[tuple[int, float]]
    image: np.ndarray  # [3, h, w] uint8
    adversarial: np.ndarray  # [3, h, w] uint8
    perturbation: np.ndarray  # [3, h, w] uint8, 128 is no change, 0 and 255 are the ends of `scales`
    times: float  # what the perturbation was multiplied by, to three digits
    attention: tuple[np.ndarray, np.ndarray] | None  # uint8 [rows, columns] before and after, the largest is 255


def draw(rows: Mapping[int, Mapping], kept: Container[int], count: int, seed: int, dataset: str) -> list[int]:
    """`count` images of a cell, drawn by seed: the same for all models of a set, but where one is passed over.

    Examples are kept of images that the attack fooled. One that was fooled and not kept (`store: 10`, or it fell to an
    earlier cell of a chain) is passed over.
    """
    order = np.random.default_rng([seed, zlib.crc32(dataset.encode())]).permutation(sorted(rows)).tolist()
    can = (i for i in order if i in kept or rows[i]["robust"] or rows[i]["clean"] != rows[i]["label"])
    return list(islice(can, count))


def look(
    net: nn.Module, mean: Tensor, std: Tensor, x: Tensor, x_adv: Tensor, eps: float, norm: str = "linf"
) -> list[Look]:
    """Images x and their adversarial examples [B, 3, H, W] in [0, 1]; two forwards."""
    seen = [(inputs - mean.view(-1, 1, 1)) / std.view(-1, 1, 1) for inputs in (x, x_adv)]
    with torch.no_grad():
        said = [net(inputs).softmax(1) for inputs in seen]
    before, after = (class_attention(getattr(net, "visual", net), inputs) for inputs in seen)
    ends = scales(x_adv - x, eps, norm)
    change = ((x_adv - x) / ends.view(-1, 1, 1, 1)).clamp(-1, 1) / 2 + 0.5  # x0 ± ε itself rounds
    return [
        Look(
            top(said[0][i]),
            top(said[1][i]),
            picture(x[i]),
            picture(x_adv[i]),
            picture(change[i]),
            float(f"{0.5 / float(ends[i]):.3g}"),
            None if before is None or after is None else (heat(before[i]), heat(after[i])),
        )
        for i in range(len(x))
    ]


def scales(change: Tensor, eps: float, norm: str) -> Tensor:
    """The change of a pixel that is shown as black or white [B]: ε, or an image's largest where ε bounds no pixel."""
    largest = change.flatten(1).abs().amax(1)
    return torch.where((largest > 0) & (norm != "linf"), largest, eps)


def top(probabilities: Tensor) -> list[tuple[int, float]]:
    """The most probable classes with their probabilities."""
    values, places = probabilities.topk(min(TOP, len(probabilities)))
    return [(int(place), round(float(value), 4)) for place, value in zip(places, values, strict=True)]


def picture(image: Tensor) -> np.ndarray:
    """[3, H, W] in [0, 1] -> uint8 with no side above SIDE: whole blocks of pixels are averaged."""
    block = -(-max(image.shape[1:]) // SIDE)
    if block > 1:
        image = torch.nn.functional.avg_pool2d(image, block, ceil_mode=True)
    return (image * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def heat(attention: Tensor) -> np.ndarray:
    """One map, its largest weight 255."""
    return (attention / attention.max().clamp_min(1e-12) * 255).round().to(torch.uint8).numpy()


def fate(label: int, clean: int, robust: bool, step: int) -> tuple[str, str]:
    """(kind, words): what became of an image."""
    if clean != label:
        return "wrong", "wrong before the attack"
    if robust:
        return "stood", "stood: no example was found"
    return "fell", f"fell at step {step}" if step > 0 else "fell"

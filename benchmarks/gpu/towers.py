"""Image towers with random weights, as models under attack: time does not depend on the weights."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zsr.attacks import Normalized, Verdicts, attack
from zsr.config.backbones import ARCHS
from zsr.evaluation.cell import ZeroShot
from zsr.models.backbone import build
from zsr.models.open_clip_light import part
from zsr.models.precision import flags
from zsr_kernels import reference

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CLIP = {  # open_clip's ViT-B-32-quickgelu and ViT-L-14-quickgelu, which are OpenAI's; one that a CPU can try
    "B/32": (512, {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}),
    "L/14": (768, {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14, "head_width": 64}),
    "tiny": (64, {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}),
}
EMBEDDED = ("drawn-vit", "drawn-rn")  # the backbones of the embedded benchmark


def definition(name: str) -> dict:
    """The architecture of a backbone of the embedded benchmark."""
    return yaml.safe_load((ARCHS / f"{name}.yaml").read_text(encoding="utf-8"))


def victim(name: str, device: str, classes: int = 10) -> Normalized:
    """A frozen model under attack, with random class embeddings. Weights are created on the device, which is faster."""
    torch.manual_seed(0)
    with torch.device(device):
        if name in EMBEDDED:
            backbone = build(definition(name))
            visual, mean, std, width = backbone.visual, backbone.mean, backbone.std, backbone.embed_dim
        else:
            width, vision = CLIP[name]
            text = {"context_length": 8, "vocab_size": 16, "width": 64, "heads": 2, "layers": 1}
            visual, mean, std = part("model").CLIP(width, vision, text, quick_gelu=True).visual, MEAN, STD
        model = Normalized(ZeroShot(visual, torch.randn(classes, width), 100.0), mean, std)
    return model.to(device).eval().requires_grad_(False)


def images(name: str, count: int, device: str) -> Tensor:
    """Random pixels [count, 3, S, S] uint8."""
    side = 32 if name in EMBEDDED else CLIP[name][1]["image_size"]
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator).to(device)


@torch.no_grad()
def predictions(model: nn.Module, x: Tensor, batch: int) -> Tensor:
    """The model's labels of clean images, uint8 or float: with random weights, the only ones that it gets right."""
    return torch.cat([model(reference.pixels(part)).argmax(1) for part in x.split(batch)])


def radius(model: Normalized, x: Tensor, y: Tensor, precision: str = "fp32", share: float = 0.4) -> float:
    """The ε at which about this share of the images is robust to ten steps of PGD."""
    low, high = 0.0, 8 / 255
    for _ in range(7):
        middle = (low + high) / 2
        found = attack(
            model, x, y, "pgd", eps=middle, batch_size=len(x), precision=precision, keep_images=False,
            index=torch.arange(len(x)),
        )  # fmt: skip
        low, high = (middle, high) if found.robust.float().mean() > share else (low, middle)
    return high


def check_attacked(verdicts: Verdicts, steps: int) -> None:
    """Raise if images were skipped: the time would mean nothing."""
    wanted, done = steps * len(verdicts.robust), verdicts.passes.backward
    if done < 0.95 * wanted:
        raise RuntimeError(f"{done} gradients instead of {wanted}: not all images are attacked")


def outcome(verdicts: Verdicts, eps: float) -> str:
    """A note: how many images are robust, and at which ε."""
    return f"ε = {eps:.2g}, {int(verdicts.robust.sum())} of {len(verdicts.robust)} robust"


class Flops(NamedTuple):
    """Operations of one image: forward, and gradient with respect to the input alone."""

    forward: float
    backward: float


def flops(model: Normalized, x: Tensor) -> Flops:
    """Counted while `x`, a few images, passes."""
    entering = (reference.pixels(x) - 0.5).requires_grad_()
    with torch.enable_grad(), FlopCounterMode(display=False) as forward:
        out = model.net(entering).sum()
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(out, entering)
    return Flops(forward.get_total_flops() / len(x), backward.get_total_flops() / len(x))


def features(model: Normalized, x: Tensor, batch: int) -> Tensor:
    """Unit features of images, in batches of one size."""
    with torch.no_grad(), flags():
        parts = [F.normalize(model.net.visual(reference.pixels(part)), dim=1) for part in x.split(batch)]
    return torch.cat(parts)

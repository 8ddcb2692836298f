"""CLIP's image towers with random weights, as open_clip builds them: time does not depend on the weights."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zsr import evaluate, registry
from zsr.attacks import Normalized, Verdicts, attack
from zsr.models.backbone import build
from zsr.models.light import part
from zsr_kernels import reference

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
ARCHS = {  # open_clip's ViT-B-32-quickgelu and ViT-L-14-quickgelu, which are OpenAI's; one for a CPU to try
    "B/32": (512, {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}),
    "L/14": (768, {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14, "head_width": 64}),
    "tiny": (64, {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}),
}


class ZeroShot(nn.Module):
    """Normalised images -> 100 cos(f, t) with random class embeddings."""

    def __init__(self, name: str, classes: int = 10) -> None:
        super().__init__()
        width, vision = ARCHS[name]
        text = {"context_length": 8, "vocab_size": 16, "width": 64, "heads": 2, "layers": 1}
        self.visual = part("model").CLIP(width, vision, text, quick_gelu=True).visual
        self.register_buffer("head", F.normalize(torch.randn(classes, width), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        features = F.normalize(self.visual(x), dim=1)
        return 100.0 * features @ self.head.to(features.dtype).T


def victim(name: str, device: str, classes: int = 10) -> Normalized:
    """A tower as it is attacked, frozen; drawn on the device, where L/14 takes a moment instead of seconds."""
    torch.manual_seed(0)
    with torch.device(device):
        model = Normalized(ZeroShot(name, classes), MEAN, STD)
    return model.to(device).eval().requires_grad_(False)


def images(name: str, count: int, device: str) -> Tensor:
    """Random pixels [count, 3, S, S] uint8."""
    side = ARCHS[name][1]["image_size"]
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator).to(device)


@torch.no_grad()
def predictions(model: nn.Module, x: Tensor, batch: int) -> Tensor:
    """Labels that the model gives to clean images: with random weights, the only ones that it gets right."""
    return torch.cat([model(reference.pixels(part)).argmax(1) for part in x.split(batch)])


def radius(model: Normalized, x: Tensor, y: Tensor, precision: str = "fp32", share: float = 0.4) -> float:
    """The ε at which about this share of the images stands against ten steps of PGD."""
    low, high = 0.0, 8 / 255
    for _ in range(7):
        middle = (low + high) / 2
        standing = attack(model, x, y, "pgd", eps=middle, batch_size=len(x), precision=precision, keep_images=False)
        low, high = (middle, high) if standing.robust.float().mean() > share else (low, middle)
    return high


class Flops(NamedTuple):
    """Operations of one image: forward, and its gradient with respect to the input alone."""

    forward: float
    backward: float


def check_attacked(verdicts: Verdicts, steps: int) -> None:
    """A measurement of an attack that attacked nothing measures nothing."""
    wanted, done = steps * len(verdicts.robust), verdicts.passes.backward
    if done < 0.95 * wanted:
        raise RuntimeError(f"{done} gradients where {wanted} were to be timed: the images are not attacked")


def flops(model: Normalized, x: Tensor) -> Flops:
    """Counted while `x`, a few images, passes."""
    entering = ((x.float() / 255) - 0.5).requires_grad_()
    with torch.enable_grad(), FlopCounterMode(display=False) as forward:
        out = model.net(entering).sum()
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(out, entering)
    return Flops(forward.get_total_flops() / len(x), backward.get_total_flops() / len(x))


def drawn(name: str, device: str, classes: int = 10) -> Normalized:
    """A backbone of the embedded benchmark ('drawn-vit', 'drawn-rn') with random weights, as it is attacked."""
    definition = yaml.safe_load((registry.PACKAGE / "models" / "archs" / f"{name}.yaml").read_text())
    backbone = build(definition)
    torch.manual_seed(0)
    head = torch.randn(classes, backbone.embed_dim)
    net = evaluate.ZeroShot(backbone.visual, head, 100.0)
    return Normalized(net, backbone.mean, backbone.std).to(device).eval().requires_grad_(False)

"""Small models to attack, and the images to attack them on; used by the benchmarks and by the tests of the attacks.

Images are class prototypes (smooth random patterns) under noise: ten classes, 16 x 16, learnt in seconds on one core.
`robust` models are trained on the inner attack (`zsr.attacks.perturb`), so that about 40 % of the images stand at a
radius that `calibrated` finds. The four architectures differ in what attacks trip over: a linear model (closed form), a
convolutional network with BatchNorm, a vision transformer, and CLIP's tower with its cosine head and temperature 100.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.attacks import Normalized, attack, perturb

SIZE, CLASSES = 16, 10
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
NAMES = ("linear", "cnn", "vit", "clip")


def images(n: int, seed: int = 0, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """n images [n, 3, size, size] in [0, 1] and their labels."""
    g = torch.Generator().manual_seed(12345)
    coarse = torch.rand(CLASSES, 3, 4, 4, generator=g)
    prototypes = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    g = torch.Generator().manual_seed(seed + 1)
    y = torch.randint(0, CLASSES, (n,), generator=g)
    strength = 0.25 + 0.5 * torch.rand(n, 1, 1, 1, generator=g)
    x = 0.5 + strength * (prototypes[y] - 0.5) + 0.12 * torch.randn(n, 3, size, size, generator=g)
    return (x.clamp(0, 1) * 255).round() / 255, y


class ViT(nn.Module):
    """Two transformer blocks over 4 x 4 patches, mean-pooled."""

    def __init__(self, width: int = 48, layers: int = 2):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(0.02 * torch.randn(1, (SIZE // 4) ** 2, width))
        block = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.blocks(tokens).mean(1))


class Cosine(nn.Module):
    """CLIP's image tower (open_clip) and class embeddings: logits s cos(f, t_c), s = 100."""

    def __init__(self):
        super().__init__()
        from zsr.models.backbone import build
        from zsr.models.word_tokenizer import vocabulary

        arch = {
            "embed_dim": 32, "logit_scale": 100.0, "mean": MEAN, "std": STD, "tokenizer": "words",
            "vision_cfg": {"image_size": SIZE, "layers": 2, "width": 48, "head_width": 16, "patch_size": 4},
            "text_cfg": {
                "context_length": 8, "vocab_size": len(vocabulary()), "width": 16, "heads": 2, "layers": 1,
            },
        }  # fmt: skip
        self.visual = build(arch, 3).visual
        self.register_buffer("head", F.normalize(torch.randn(CLASSES, 32), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return 100.0 * F.normalize(self.visual(x), dim=1) @ self.head.T


def network(name: str, width: int = 1) -> nn.Module:
    """An untrained network on normalised images; `width` multiplies the channels of the convolutional one."""
    if name == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, CLASSES))
    if name == "cnn":
        return nn.Sequential(
            nn.Conv2d(3, 16 * width, 3, 1, 1), nn.BatchNorm2d(16 * width), nn.ReLU(),
            nn.Conv2d(16 * width, 32 * width, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32 * width, 32 * width, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * width * (SIZE // 4) ** 2, CLASSES),
        )  # fmt: skip
    return ViT() if name == "vit" else Cosine()


def trained(name: str, robust: bool = False, steps: int = 150, seed: int = 0, width: int = 1) -> Normalized:
    """A model that classifies most of the images, on adversarial examples if `robust`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network(name, width)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, 2e-3)
    for step in range(steps):
        x, y = images(64, seed=1000 + step)
        if robust:
            net.eval()
            inner = perturb(
                net, x, lambda z, y=y: F.cross_entropy(z, y, reduction="none"), eps=8 / 255, steps=2,
                step_size=6 / 255, mean=mean, std=std, keys=torch.arange(64), seed=seed, counter=step,
            )  # fmt: skip
            x = inner.x
        net.train()
        loss = F.cross_entropy(net((x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Normalized(net, MEAN, STD).eval()


def calibrated(model: Normalized, norm: str, n: int = 128, share: float = 0.4) -> float:
    """The radius, a multiple of 1/2040, at which about this share of the images stands against ten steps of PGD."""
    x, y = images(n, seed=77)
    low, high = {"linf": (0.0, 0.25), "l2": (0.0, 6.0), "l1": (0.0, 60.0)}[norm]
    for _ in range(8):
        middle = 0.5 * (low + high)
        standing = attack(model, x, y, "pgd", norm=norm, eps=middle, batch_size=n).robust.float().mean().item()
        low, high = (middle, high) if standing > share else (low, middle)
    return max(round(high * 2040), 1) / 2040

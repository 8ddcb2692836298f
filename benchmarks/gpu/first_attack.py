"""A small version of a cell's start: build a model, attack a few images.

python -m gpu.first_attack DEVICE
"""

import sys

from gpu import towers
from zsr.attacks import attack


def main(device: str) -> None:
    model, x = towers.victim("drawn-vit", device), towers.images("drawn-vit", 4, "cpu")
    y = towers.predictions(model, x.to(device), len(x)).cpu()
    attack(model, x, y, "pgd", eps=0.01, steps=2)


if __name__ == "__main__":
    main(sys.argv[1])

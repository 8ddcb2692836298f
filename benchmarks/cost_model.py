"""GPU-hours of a large study, from the arithmetic of its networks and a stated rate: a model, no GPU was measured.

    python benchmarks/cost_model.py [--rate 200] [--images 1000] [--standing 0.4]

A pass is one image once forward, F operations; its gradient with respect to the input alone costs about F more
(parameters are frozen: half of a training's backward is not computed). An image that has fallen leaves the attack, so
gradient attacks cost the share of images that stand. Numbers for docs/scale.md.
"""

import argparse

# tokens, width, layers, pixels of a patch (three channels) of the visual towers (Radford et al. 2021; OpenCLIP's H/14)
TOWERS = {"ViT-B/32": (50, 768, 12, 3072), "ViT-L/14": (257, 1024, 24, 588), "ViT-H/14": (257, 1280, 32, 588)}
# passes of an image that stands to the end, forward and backward
ATTACKS = {
    "PGD-20": 20 + 20,
    "PGD-100": 100 + 100,
    "CW-100": 100 + 100,
    "AutoAttack": 2 * 100 + 9 * 2 * 100 + 9 * 2 * 100 + 5000,  # APGD-CE, APGD-T, FAB-T, Square
}


def operations(tokens: int, width: int, layers: int, patch: int) -> float:
    """Floating-point operations of one image forward: matrices 12·width² a token and layer, attention, patches."""
    matrices = 2 * tokens * 12 * width**2 * layers
    attention = 4 * tokens**2 * width * layers
    return matrices + attention + 2 * (tokens - 1) * patch * width


def hours(passes: float, images: float, per_pass: float, rate: float) -> float:
    return passes * images * per_pass / (rate * 1e12) / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rate", type=float, default=200, help="TFLOP/s that a card sustains, attack's own work included"
    )
    parser.add_argument("--images", type=int, default=1000, help="of a cell")
    parser.add_argument("--standing", type=float, default=0.4, help="share of images that stand")
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--sets", type=int, default=30)
    parser.add_argument("--eps", type=int, default=6)
    given = parser.parse_args()
    cells = given.models * given.sets * given.eps
    print(
        f"{cells * len(ATTACKS):,} cells of {given.images} images, {given.rate:g} TFLOP/s, {given.standing:.0%} stand\n"
    )
    print("| GPU-hours | GFLOP a pass | " + " | ".join(ATTACKS) + " | all cells | one training | all trainings |")
    print("|---" * (len(ATTACKS) + 5) + "|")
    for name, shape in TOWERS.items():
        one = operations(*shape)
        spent = [hours(p * given.standing, given.images * cells, one, given.rate) for p in ATTACKS.values()]
        # PGD-2 and a training step, 3 F for forward and whole backward: 7 F; 10 epochs of 100,000 images
        training = hours(2 * 2 + 3, 10 * 100_000, one, given.rate)
        numbers = [*spent, sum(spent), training, training * given.models]
        print(
            f"| {name} | {one / 1e9:.1f} | "
            + " | ".join(f"{n:,.0f}" if n >= 10 else f"{n:.2g}" for n in numbers)
            + " |"
        )


if __name__ == "__main__":
    main()

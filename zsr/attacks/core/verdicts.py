"""`Verdicts`: the result of an attack, one row per image."""

from dataclasses import dataclass, field

from torch import Tensor

from zsr.attacks.core.gradient_signs import Facts
from zsr.attacks.core.out_of_memory import Passes


@dataclass
class Verdicts:
    """One row per image, in the order given, on the device of `x`. Every number is of a fresh float32 forward."""

    robust: Tensor  # bool [N]: predicted correctly on every example that was tried
    x_adv: Tensor | None  # float32 [N, C, H, W]: the example that fooled it, or the closest attempt; in ball and box
    prediction: Tensor  # int64 [N], on x_adv
    clean: Tensor  # int64 [N], on x
    margin: Tensor  # float32 [N]: z_y - max_{j != y} z_j on x_adv
    clean_margin: Tensor
    step: Tensor  # int64 [N]: 0 wrong already, k fooled by the k-th iterate tried (the start is the first), -1 robust
    distance: Tensor  # float32 [N]: norm of x_adv - x
    passes: Passes  # image-passes spent, clean and verdict forwards included
    attack: list[str]  # which attack fooled it, '' if none did
    notes: list[str] = field(default_factory=list)  # rules applied, path taken
    overhead: float = 1.0  # passes spent over those that images still under attack needed
    signs: dict[str, Facts] = field(default_factory=dict)  # part -> what its passes showed (`core/gradient_signs.py`)
    unconfirmed: int = 0  # images fooled in the attack's precision and robust in float32

"""What is known about every image, and the judge that writes it down: a fresh float32 look, inside ball and box."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zsr.attacks.core.threat import Threat
from zsr.attacks.core.victim import Victim
from zsr.errors import ZsrError, unknown
from zsr_kernels import reference

SHAPES = ("auto", "exact", "bucket", "fixed")


@dataclass
class Ledger:
    """What is known about every image, on the device of the images given; written by the engine alone."""

    x: Tensor  # [N, C, H, W], float32 or uint8, as given
    y: Tensor  # [N]
    keys: Tensor  # [N] int64
    clean: Tensor  # [N] prediction
    clean_margin: Tensor
    clean_logits: Tensor  # [N, C]
    robust: Tensor  # bool
    prediction: Tensor  # of the example below
    margin: Tensor
    step: Tensor  # as in Verdicts
    distance: Tensor
    x_adv: Tensor | None  # the example that felled it, or the closest attempt
    fooled_by: list[str]
    spent: Tensor  # iterates tried so far, all rounds


class Judge:
    """Looks at images in float32, at batch shapes that the policy allows, and keeps the ledger.

    `shapes="exact"`: as many as there are (CPU); `"bucket"`: powers of two (GPU: few shapes to compile or capture);
    `"fixed"`: always a full batch, filled up with copies (bit-equal verdicts whatever the company).
    `eot`: forwards that a look averages, the clean one too. One look among thousands of queries is a lucky draw, to
    which a random defence falls without any perturbation.
    """

    def __init__(self, victim: Victim, threat: Threat, *, batch_size: int = 64, shapes: str = "auto", eot: int = 1):
        if batch_size < 1:
            raise ZsrError(f"attack: batch_size={batch_size} must be at least 1")
        if shapes not in SHAPES:
            raise unknown("shapes", shapes, SHAPES, "attack")
        self.victim, self.threat, self.batch_size, self.eot = victim, threat, batch_size, eot
        self.shapes = shapes if shapes != "auto" else ("bucket" if victim.device.type == "cuda" else "exact")
        self.needed = 0  # passes that an image under attack needed: the floor of what was spent

    def open(self, x: Tensor, y: Tensor, keys: Tensor, keep_images: bool = True) -> Ledger:
        """The clean forward of every image: predictions, margins, and the logits from which targets are taken."""
        n, home = len(x), x.device
        clean = torch.empty(n, dtype=torch.int64, device=home)
        margin = torch.empty(n, dtype=torch.float32, device=home)
        rows = []
        for start in range(0, n, self.batch_size):
            part = slice(start, start + self.batch_size)
            labels = y[part].to(self.victim.device)
            prediction, gap, logits = self._judge(self.pixels(x[part]), labels)
            self.needed += len(labels) * self.eot
            clean[part], margin[part] = prediction.to(home), gap.to(home)
            rows.append(logits.to(home))
        robust = clean == y
        adversarial = reference.pixels(x).clone() if keep_images else None
        return Ledger(
            x, y, keys, clean, margin, torch.cat(rows) if rows else torch.empty(0, 2, device=home),
            robust, clean.clone(), margin.clone(), torch.where(robust, -1, 0), torch.zeros(n, device=home),
            adversarial, [""] * n, torch.zeros(n, dtype=torch.int64, device=home),
        )  # fmt: skip

    def pixels(self, x: Tensor) -> Tensor:
        return reference.pixels(x.to(self.victim.device))

    def _judge(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction, margin, logits in float32, at a batch shape that the shape policy allows."""
        n = len(x)
        pad = self.shape(n) - n
        if pad:
            x, y = torch.cat([x, x[:1].expand(pad, *x.shape[1:])]), torch.cat([y, y[:1].expand(pad)])
        prediction, margin, logits = self.victim.judge(x, y, self.eot)
        return prediction[:n], margin[:n], logits[:n]

    def shape(self, n: int) -> int:
        """The batch shape for n images under the shape policy."""
        if self.shapes == "exact" or n >= self.batch_size:
            return n
        if self.shapes == "fixed":
            return self.batch_size
        return min(self.batch_size, 1 << max(n - 1, 0).bit_length())

    def score(
        self,
        ledger: Ledger,
        attack: str,
        images: list[int],
        x: Tensor,
        steps: list[int],
        *,
        final: bool = False,
    ) -> list[bool]:
        """Judge `x`; write down falls, and for a standing image (final) the example that came closest to felling it."""
        home = ledger.x.device
        at = torch.tensor(images, device=home)
        x0, y = ledger.x[at].to(x.device), ledger.y[at].to(x.device)
        prediction, margin, _ = self._judge(x, y)
        self.needed += len(images) * self.eot
        if not bool(self.threat.contains(x, x0).all()):
            raise AssertionError(f"{attack}: an example lies outside the ball or the box; this is a bug")
        distance = self.threat.distance(x, x0)
        fell = (prediction != y).to(home)
        better = fell | (torch.as_tensor(final) & (margin.to(home) < ledger.margin[at]))
        count = torch.tensor(steps, device=home) + ledger.spent[at]
        if final:
            ledger.spent[at] = count
        write = at[better]
        ledger.prediction[write] = prediction.to(home)[better]
        ledger.margin[write] = margin.to(home)[better]
        ledger.distance[write] = distance.to(home)[better]
        if ledger.x_adv is not None:
            ledger.x_adv[write] = x.to(home)[better]
        down = at[fell]
        ledger.robust[down] = False
        ledger.step[down] = count[fell]
        for i in down.tolist():
            ledger.fooled_by[i] = attack
        return fell.tolist()

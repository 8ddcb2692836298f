"""The scorer: fresh float32 forwards, which alone decide whether an image is fooled."""

import torch
from torch import Tensor

from zsr.attacks.core.batch_shapes import BatchShapes
from zsr.attacks.core.ledger import Ledger
from zsr.attacks.core.threat import Threat
from zsr.attacks.core.victim import Victim
from zsr_kernels import reference


class Scorer:
    """Scores examples in float32, checks that they lie in ball and box, and writes the verdicts into a ledger.

    `eot`: forwards that a verdict averages, the clean one too. Among thousands of queries of a random defence, one
    forward fools an image by chance, without any perturbation.
    """

    def __init__(self, victim: Victim, threat: Threat, shapes: BatchShapes, eot: int = 1) -> None:
        self.victim, self.threat, self.shapes, self.eot = victim, threat, shapes, eot

    def open(self, x: Tensor, y: Tensor, keys: Tensor, *, keep_images: bool = True) -> Ledger:
        """A ledger after the clean forward of every image: predictions, margins, and logits to choose targets from."""
        n, home = len(x), x.device
        clean = torch.empty(n, dtype=torch.int64, device=home)
        margin = torch.empty(n, dtype=torch.float32, device=home)
        logits = []
        for start in range(0, n, self.shapes.batch_size):
            part = slice(start, start + self.shapes.batch_size)
            labels = y[part].to(self.victim.device)
            part_clean, part_margin, part_logits = self._forward(self.pixels(x[part]), labels)
            clean[part], margin[part] = part_clean.to(home), part_margin.to(home)
            logits.append(part_logits.to(home))
        robust = clean == y
        return Ledger(
            x=x,
            y=y,
            keys=keys,
            clean=clean,
            clean_margin=margin,
            clean_logits=torch.cat(logits) if logits else torch.empty(0, 2, device=home),
            robust=robust,
            prediction=clean.clone(),
            margin=margin.clone(),
            step=torch.where(robust, -1, 0),
            distance=torch.zeros(n, device=home),
            x_adv=reference.pixels(x).clone() if keep_images else None,
            fooled_by=[""] * n,
            tried=torch.zeros(n, dtype=torch.int64, device=home),
            needed=n * self.eot,
        )

    def score(
        self, ledger: Ledger, attack: str, images: list[int], x: Tensor, iterates: list[int], *, final: bool = False
    ) -> list[bool]:
        """Score the examples `x` of these images; returns which images they fool.

        `iterates`: how many iterates the round has tried for each image, this one included. `final`: these are the last
        ones; an image that is still robust keeps its example if no earlier one had a smaller margin.
        """
        home = ledger.x.device
        index = torch.tensor(images, device=home)
        x0, y = ledger.x[index].to(x.device), ledger.y[index].to(x.device)
        prediction, margin, _ = self._forward(x, y)
        ledger.needed += len(images) * self.eot
        (inside,) = self.victim.memory.within(lambda *rows: (self.threat.contains(*rows),), x, x0)
        if not bool(inside.all()):
            raise AssertionError(f"{attack}: an example lies outside the ball or the box; this is a bug")
        distance = self.threat.distance(x, x0)
        fooled = (prediction != y).to(home)
        better = fooled | (torch.as_tensor(final) & (margin.to(home) < ledger.margin[index]))
        tried = torch.tensor(iterates, device=home) + ledger.tried[index]
        if final:
            ledger.tried[index] = tried
        rows = index[better]
        ledger.prediction[rows] = prediction.to(home)[better]
        ledger.margin[rows] = margin.to(home)[better]
        ledger.distance[rows] = distance.to(home)[better]
        if ledger.x_adv is not None:
            ledger.x_adv[rows] = x.to(home)[better]
        rows = index[fooled]
        ledger.robust[rows] = False
        ledger.step[rows] = tried[fooled]
        for i in rows.tolist():
            ledger.fooled_by[i] = attack
        verdicts: list[bool] = fooled.tolist()
        return verdicts

    def pixels(self, x: Tensor) -> Tensor:
        """Images as float32 in [0, 1], on the victim's device."""
        return reference.pixels(x.to(self.victim.device))

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction, margin and logits in float32; the batch is padded to the shape that the policy allows."""
        n = len(x)
        padding = self.shapes.rows(n) - n
        if padding:
            x = torch.cat([x, x[:1].expand(padding, *x.shape[1:])])
            y = torch.cat([y, y[:1].expand(padding)])
        prediction, margin, logits = self.victim.score(x, y, self.eot)
        return prediction[:n], margin[:n], logits[:n]

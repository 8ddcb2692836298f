"""What an attack's own passes show of a defence that hides its gradient, at no cost: nothing here waits for the device.

Two signs, per part of the attack: images whose gradient at their first iterate is zero in every pixel though they are
classified correctly there, and the objective of the images that are still attacked at the last step, against that at
their first. An attack whose loss does not rise has not attacked.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from zsr.attacks.core.schedule import Round, State, sent

FIRST = "watch.loss"  # the state's row of first losses


@dataclass
class Signs:
    """Counts on the host, sums on the device."""

    flat: Tensor  # images with a zero gradient
    first: Tensor
    last: Tensor
    rose: Tensor
    images: int = 0
    ended: int = 0


class Watch:
    """Collects signs over all rounds of an attack; rounds of one name (restarts, target classes) are summed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.signs: dict[str, Signs] = {}

    def see(
        self, this: Round, state: State, loss: Tensor, grad: Tensor | None, wrong: Tensor, slots: list[int],
        age: list[int],
    ) -> None:  # fmt: skip
        """One pass over the images in `slots`: looks at those that begin and at those that end."""
        if grad is None or loss.ndim != 1:
            return
        if this.attack not in self.signs:
            self.signs[this.attack] = Signs(*(torch.zeros((), device=self.device) for _ in range(4)))
        signs = self.signs[this.attack]
        if fresh := [slot for slot in slots if age[slot] == 0]:
            at = self._rows(fresh, len(loss))
            state[FIRST][at] = loss[at]
            flat = grad[at].flatten(1).abs().amax(1) == 0
            signs.flat += (flat & ~wrong[at]).sum()
            signs.images += len(fresh)
        steps = this.schedule.steps
        if steps > 1 and this.schedule.scale_free and (done := [s for s in slots if age[s] == steps - 1]):
            at = self._rows(done, len(loss))
            first, last = state[FIRST][at], loss[at]
            signs.first += first.sum()
            signs.last += last.sum()
            signs.rose += (last > first).sum()
            signs.ended += len(done)

    def _rows(self, slots: list[int], width: int) -> slice | Tensor:
        return slice(None) if len(slots) == width else sent(slots, self.device)

    def facts(self) -> dict[str, dict[str, float | int]]:
        """part -> counts and means, for the record of a cell."""
        found: dict[str, dict[str, float | int]] = {}
        for name, signs in self.signs.items():
            found[name] = {"images": signs.images, "zero_gradient": int(signs.flat), "ended": signs.ended}
            if signs.ended:
                found[name] |= {
                    "first": float(signs.first) / signs.ended,
                    "last": float(signs.last) / signs.ended,
                    "rose": int(signs.rose),
                }
        return found

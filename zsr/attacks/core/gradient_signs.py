"""Signs of a defence that hides its gradient, taken from the attack's own passes; nothing here syncs the device.

Two signs, per part of the attack: images whose gradient at their first iterate is zero in every pixel though they are
classified correctly there, and whether the objective of the images that are still attacked at the last step is higher
there than at their first. If the loss does not rise, the attack did nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from zsr.attacks.core.schedule import PassResult, Round, sent
from zsr.attacks.core.slots import Slots

FIRST_LOSS = "watch.loss"  # in the state: the loss of each image at its first iterate

Facts = dict[str, float | int]


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

    def see(self, round_: Round, slots: Slots, result: PassResult, wrong: Tensor) -> None:
        """One pass: takes note of the images that begin and of those that end."""
        loss, grad, first_loss = result.loss, result.grad, slots.state[FIRST_LOSS]
        if grad is None or loss.ndim != 1:
            return
        if round_.attack not in self.signs:
            flat, first, last, rose = (torch.zeros((), device=self.device) for _ in range(4))
            self.signs[round_.attack] = Signs(flat, first, last, rose)
        signs, live, steps = self.signs[round_.attack], slots.live(), round_.schedule.steps
        if fresh := [slot for slot in live if slots.age[slot] == 0]:
            rows = self._rows(fresh, len(loss))
            first_loss[rows] = loss[rows]
            flat = grad[rows].flatten(1).abs().amax(1) == 0
            signs.flat += (flat & ~wrong[rows]).sum()
            signs.images += len(fresh)
        if steps > 1 and round_.schedule.scale_free and (done := [s for s in live if slots.age[s] == steps - 1]):
            rows = self._rows(done, len(loss))
            first, last = first_loss[rows], loss[rows]
            signs.first += first.sum()
            signs.last += last.sum()
            signs.rose += (last > first).sum()
            signs.ended += len(done)

    def _rows(self, slots: list[int], width: int) -> slice | Tensor:
        return slice(None) if len(slots) == width else sent(slots, self.device)

    def facts(self) -> dict[str, Facts]:
        """part -> counts and means, for the record of a cell."""
        facts: dict[str, Facts] = {}
        for name, signs in self.signs.items():
            facts[name] = {"images": signs.images, "zero_gradient": int(signs.flat), "ended": signs.ended}
            if signs.ended:
                facts[name] |= {
                    "first": float(signs.first) / signs.ended,
                    "last": float(signs.last) / signs.ended,
                    "rose": int(signs.rose),
                }
        return facts

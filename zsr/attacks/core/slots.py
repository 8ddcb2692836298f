"""The batch of the engine: slots, each of which holds one image, its state and the steps that it has made."""

from collections import deque
from collections.abc import Callable

import torch

from zsr.attacks.core.schedule import State

IDLE = -1


class Slots:
    """`image`, `age` (gradient steps made) and the rows of `state` have one entry per slot.

    An idle slot still passes through the network, with the state of the image that it held; nothing reads its result.
    """

    def __init__(self, width: int) -> None:
        self.image = [IDLE] * width
        self.age = [0] * width
        self.state: State = {}

    def live(self) -> list[int]:
        """The slots that hold an image under attack."""
        return [slot for slot, image in enumerate(self.image) if image != IDLE]

    def at_age(self, age: int) -> list[int]:
        """The live slots whose image has made so many steps, or more."""
        return [slot for slot in self.live() if self.age[slot] >= age]

    def fill(self, queue: deque[int], begin: Callable[[list[int]], State]) -> None:
        """Move images from the queue into idle slots; `begin` gives the first state of images, one row each."""
        if not queue:
            return
        idle = [slot for slot, image in enumerate(self.image) if image == IDLE]
        images = [queue.popleft() for _ in range(min(len(idle), len(queue)))]
        if not images:
            return
        filled = idle[: len(images)]
        rows = begin(images)
        for slot, image in zip(filled, images, strict=True):
            self.image[slot], self.age[slot] = image, 0
        if len(images) == len(self.image):
            self.state = rows
        elif not self.state:  # fewer images than the batch shape has rows: the other slots are copies of the first one
            copies = [0] * (len(self.image) - len(images))
            self.state = {name: torch.cat([value, value[copies]]) for name, value in rows.items()}
        else:
            at = torch.tensor(filled, device=rows["x0"].device)
            self.state = {name: value.index_copy(0, at, rows[name]) for name, value in self.state.items()}

    def count_step(self) -> None:
        """Every image under attack has made one more step."""
        for slot in self.live():
            self.age[slot] += 1

    def retire(self, slots: list[int]) -> None:
        """These images are not attacked further in this round: their slots are idle."""
        for slot in slots:
            self.image[slot] = IDLE

    def shrink(self, width: int) -> None:
        """Keep the live slots, and as many idle ones as make up `width`; a batch never grows."""
        if width >= len(self.image) or not (live := self.live()):
            return
        idle = width - len(live)
        at = torch.tensor(live + [live[0]] * idle, device=self.state["x0"].device)
        self.state = {name: value.index_select(0, at) for name, value in self.state.items()}
        self.image = [self.image[slot] for slot in live] + [IDLE] * idle
        self.age = [self.age[slot] for slot in live] + [0] * idle

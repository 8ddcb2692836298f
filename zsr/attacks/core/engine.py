"""The loop, written once: a batch of constant shape, from which fallen images leave and into which others come.

A `Round` is one run of a schedule with an objective over the images that still stand: a restart, a target class, one
part of AutoAttack. Inside it every slot of the batch holds one image with its own state and step counter. One pass:

    forward -> who is fooled? -> those are scored again in float32, and leave if that confirms it -> gradient, step

An image that has made its last step leaves too; its last iterate is scored in float32 in the final batches, so no
backward is ever wasted on it. The network sees a full batch until the queue is empty; then the batch shrinks, as
`Judge` says. The host waits once per pass, for one small tensor that says who is fooled: refilling needs it. With
`verdict="last"` nobody leaves early and the host never waits.
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from zsr.attacks.core.gradient_signs import FIRST, Watch
from zsr.attacks.core.ledger import Judge, Ledger
from zsr.attacks.core.schedule import Round, Seen, State
from zsr.attacks.core.threat import Threat
from zsr.attacks.core.victim import Victim, not_finite
from zsr.errors import ZsrError, unknown


class Engine(Judge):
    """A judge with a loop: runs rounds for one victim and one threat; between rounds all is in the ledger."""

    def __init__(
        self,
        victim: Victim,
        threat: Threat,
        *,
        seed: int = 0,
        batch_size: int = 64,
        verdict: str = "any",
        shapes: str = "auto",
        eot: int = 1,
    ):
        super().__init__(victim, threat, batch_size=batch_size, shapes=shapes, eot=eot)
        if verdict not in ("any", "last"):
            raise unknown("verdict", verdict, ("any", "last"), "attack")
        self.seed, self.verdict = seed, verdict
        self.watch = Watch(victim.device)
        self.unconfirmed: set[int] = set()  # images that a pass fooled and float32 did not confirm

    def run(self, ledger: Ledger, this: Round) -> None:
        """Attack every image that still stands, and write down who fell."""
        if this.schedule.steps < 1:
            raise ZsrError(f"attack '{this.attack}': it needs at least one step, has {this.schedule.steps}")
        queue = deque(torch.nonzero(ledger.robust).flatten().tolist())
        if not queue:
            return
        self._finite = torch.ones((), dtype=torch.bool, device=self.victim.device)
        width = min(self.batch_size, self.shape(len(queue)))
        state: State = {}
        image: list[int] = []  # the image in each slot, -1 if idle
        age: list[int] = []  # gradient steps it has made
        waiting: list[tuple[int, Tensor]] = []  # images at their last iterate, to be scored
        while True:
            state, image, age = self._refill(ledger, this, queue, width, state, image, age)
            live = [slot for slot, i in enumerate(image) if i >= 0]
            if not live:
                break
            fallen = self._pass(ledger, this, state, image, age)
            for slot in live:
                age[slot] += 1
            for slot in fallen:
                image[slot] = -1
            ended = [slot for slot in live if image[slot] >= 0 and age[slot] >= this.schedule.steps]
            if ended:
                last = this.schedule.last(self.threat, state, torch.tensor(ended, device=self.victim.device))
                waiting += [(image[slot], x) for slot, x in zip(ended, last, strict=True)]
            for slot in ended:
                image[slot] = -1
            while len(waiting) >= self.batch_size:
                self._settle(ledger, this, waiting[: self.batch_size])
                del waiting[: self.batch_size]
        if not bool(self._finite):
            raise not_finite("logits or gradients")
        if waiting:
            self._settle(ledger, this, waiting)

    def _refill(self, ledger, this, queue, width, state, image, age):
        """Put queued images into idle slots; when the queue is empty, shrink to what is left."""
        free = [slot for slot, i in enumerate(image) if i < 0] + list(range(len(image), width))
        if not state:
            free = list(range(width))
            image, age = [-1] * width, [0] * width
        fresh = [queue.popleft() for _ in range(min(len(free), len(queue)))]
        if fresh:
            slots = free[: len(fresh)]
            rows = self._begin(ledger, this, fresh)
            for slot, i in zip(slots, fresh, strict=True):
                image[slot], age[slot] = i, 0
            if not state and len(fresh) < width:  # fixed or bucket shapes with too few images: idle copies of the first
                filler = [0] * (width - len(fresh))
                state = {k: torch.cat([v, v[filler]]) for k, v in rows.items()}
            elif len(fresh) == len(image):
                state = rows
            else:
                where = torch.tensor(slots, device=self.victim.device)
                state = {k: v.index_copy(0, where, rows[k]) for k, v in state.items()}
        live = [slot for slot, i in enumerate(image) if i >= 0]
        target = self.shape(len(live))
        if live and target < len(image):
            keep = live + [live[0]] * (target - len(live))
            where = torch.tensor(keep, device=self.victim.device)
            state = {k: v.index_select(0, where) for k, v in state.items()}
            idle = target - len(live)
            image, age = [image[s] for s in live] + [-1] * idle, [age[s] for s in live] + [0] * idle
        return state, image, age

    def _begin(self, ledger: Ledger, this: Round, images: Sequence[int]) -> State:
        device = self.victim.device
        at = torch.tensor(images, device=ledger.x.device)
        x0, y, key = (t[at].to(device) for t in (ledger.x, ledger.y, ledger.keys))
        state = {"x0": x0.contiguous(), "y": y, "key": key}
        logits = ledger.clean_logits[at].to(device)
        aux = {f"aux.{k}": v for k, v in this.objective.prepare(logits, state["y"]).items()}
        state |= aux
        state |= this.schedule.begin(self.threat, state, self.seed, this.stream)
        state[FIRST] = torch.zeros(len(x0), device=device)
        return state

    def _pass(self, ledger: Ledger, this: Round, state: State, image: list[int], age: list[int]) -> set[int]:
        """Forward, gradient and step for the whole batch; returns the slots whose image has fallen."""
        x = state["x"]
        logits, loss, grad = self._evaluate(this, state)
        fallen: set[int] = set()
        live = [slot for slot, i in enumerate(image) if i >= 0]
        finite = torch.isfinite(loss.flatten(1).sum(1)) if loss.ndim > 1 else torch.isfinite(loss)
        if grad is not None:  # a NaN gradient has sign 0: unseen, the image would stand because it was never attacked
            finite = finite & torch.isfinite(grad.flatten(1).sum(1, dtype=torch.float32))
        wrong = logits.argmax(1) != state["y"]
        self.watch.see(this, state, loss, grad, wrong, live, age)
        if self.verdict == "last":
            self._finite &= finite.all()  # looked at when the round ends: no wait
        else:
            wrong = this.schedule.suspects(self.threat, state, wrong)
            flags = torch.stack([wrong, finite]).tolist()  # the one wait of this pass
            if not all(flags[1][slot] for slot in live):
                raise not_finite("logits or gradients")
            suspects = [slot for slot in live if flags[0][slot]]
            if suspects:
                steps = {slot: age[slot] + 1 for slot in suspects}
                fallen = self._confirm(ledger, this, x, image, suspects, steps)
                self.unconfirmed |= {image[slot] for slot in suspects if slot not in fallen}
        self._count(this, len(live), len(live) - len(fallen), loss)
        this.schedule.advance(self.threat, state, Seen(loss, grad, logits, age, self.shapes == "fixed"))
        return fallen

    def _count(self, this: Round, forwards: int, gradients: int, loss: Tensor) -> None:
        """A forward for each image under attack, a gradient for each that has to move on."""
        backwards = loss[0].numel() * gradients if this.schedule.needs_gradient else 0
        self.needed += this.eot * (forwards + backwards)

    def _evaluate(self, this: Round, state: State) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits, per-image losses and the gradient with respect to the network's input; averaged over `eot` draws."""
        aux = {k[4:]: v for k, v in state.items() if k.startswith("aux.")}

        def look(net: Tensor, y: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            net, known = net.detach(), dict(zip(aux, given, strict=True))
            if not this.schedule.needs_gradient:
                with torch.no_grad():
                    logits = self.victim.logits(net)
                    return logits, this.objective(logits, y, known)
            net.requires_grad_()
            with torch.enable_grad():
                logits = self.victim.logits(net)
                self.victim.differentiable(logits)
                loss = this.objective(logits, y, known)
            grad = self.victim.gradient(loss, net, logits if this.schedule.scale_free else None)
            return logits.detach(), loss.detach(), grad

        total: tuple[Tensor, ...] | None = None
        for _ in range(this.eot):
            sample = self.victim.memory.within(look, state["net"], state["y"], *aux.values())
            total = sample if total is None else tuple(a + b for a, b in zip(total, sample, strict=True))
        if this.eot > 1:
            total = tuple(a / this.eot for a in total)
        return total[0], total[1], total[2] if len(total) > 2 else None

    def _confirm(self, ledger, this, x: Tensor, image: list[int], slots: list[int], steps: dict[int, int]) -> set[int]:
        """Score the suspects again in float32; those that are wrong there too have fallen."""
        where = torch.tensor(slots, device=x.device)
        images = [image[slot] for slot in slots]
        examples, count = x.index_select(0, where), [steps[slot] for slot in slots]
        fell = self.score(ledger, this.attack, images, examples, count)
        return {slot for slot, f in zip(slots, fell, strict=True) if f}

    def _settle(self, ledger: Ledger, this: Round, waiting: list[tuple[int, Tensor]]) -> None:
        """The last word on images that have used up their steps: their last iterate, in float32."""
        images = [i for i, _ in waiting]
        x = torch.stack([last for _, last in waiting])
        steps = [this.schedule.steps + 1] * len(images)
        self.score(ledger, this.attack, images, x, steps, final=True)

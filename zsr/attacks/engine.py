"""The loop, written once: a batch of constant shape, from which fallen images leave and into which others come.

A `Round` is one run of a schedule with an objective over the images that still stand: a restart, a target class, one
part of AutoAttack. Inside it every slot of the batch holds one image with its own state and step counter. One pass:

    forward -> who is fooled? -> those are scored again in float32, and leave if that confirms it -> gradient, step

An image that has made its last step leaves too; its last iterate is scored in float32 in the final batches, so no
backward is ever wasted on it. The network sees a full batch until the queue is empty; then the batch shrinks:
`shapes="exact"` to what is left (CPU), `"bucket"` to powers of two (GPU: few shapes to compile or capture), `"fixed"`
never (bit-equal verdicts whatever the company, at the price of idle slots). The host waits once per pass, for one small
tensor that says who is fooled: refilling needs it. With `verdict="last"` nobody leaves early and the host never waits.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from zsr.attacks.objectives import Objective, margins
from zsr.attacks.threat import Threat
from zsr.attacks.victim import Victim, _not_finite
from zsr.errors import ZsrError, unknown
from zsr_kernels import reference

SHAPES = ("auto", "exact", "bucket", "fixed")
State = dict[str, Tensor]


class Schedule:
    """How one image moves. A subclass holds settings only; what changes lies in the state, one row per image."""

    steps: int  # gradient steps per image: the number of `advance` calls it lives through
    needs_gradient: bool = True
    scale_free: bool = True  # only the direction of an image's gradient matters, not its length

    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        """The first iterate: given x0, y, key (and the objective's aux), return at least `x` and `net`."""
        raise NotImplementedError

    def advance(self, threat: Threat, state: State, seen: "Seen") -> None:
        """Put the next iterates into `x` and `net`, given what the network said at the current ones."""
        raise NotImplementedError

    def suspects(self, threat: Threat, state: State, wrong: Tensor) -> Tensor:
        """Which misclassified iterates are worth a verdict, [B]: all, unless iterates may lie outside the ball."""
        return wrong

    def last(self, threat: Threat, state: State, rows: Tensor) -> Tensor:
        """The examples that are scored when the images in these rows have used up their steps."""
        return state["x"].index_select(0, rows)


class Seen(NamedTuple):
    """What one pass brought to light, row by row, and how many steps each row has made (host side, -1 if idle)."""

    loss: Tensor  # [B], or [B, K] for a vector objective
    grad: Tensor | None  # with respect to the network's input: [B, C, H, W], or [B, K, C, H, W]
    logits: Tensor  # [B, C]
    age: list[int]


@dataclass(frozen=True)
class Round:
    """One run over images: what moves them, what they climb, under which name, from which stream of random numbers."""

    attack: str
    schedule: Schedule
    objective: Objective
    stream: int = 0
    eot: int = 1


@dataclass
class Ledger:
    """What is known about every image, on the device of the images given; written by the engine alone."""

    x: Tensor  # [N, C, H, W], float32 or uint8, as given
    y: Tensor  # [N]
    keys: Tensor  # [N] int64
    clean: Tensor  # [N] prediction
    clean_margin: Tensor
    clean_logits: Tensor  # [N, C]
    robust: Tensor
    prediction: Tensor
    margin: Tensor
    step: Tensor
    distance: Tensor
    x_adv: Tensor | None
    felled_by: list[str]
    spent: Tensor = field(default=None)  # iterates evaluated so far, all rounds


class Engine:
    """Runs rounds for one victim and one threat; holds no state between rounds but the ledger's."""

    def __init__(
        self,
        victim: Victim,
        threat: Threat,
        *,
        seed: int = 0,
        batch_size: int = 64,
        verdict: str = "any",
        shapes: str = "auto",
    ):
        if batch_size < 1:
            raise ZsrError(f"attack: batch_size={batch_size} must be at least 1")
        if verdict not in ("any", "last"):
            raise unknown("verdict", verdict, ("any", "last"), "attack")
        if shapes not in SHAPES:
            raise unknown("shapes", shapes, SHAPES, "attack")
        self.victim, self.threat, self.seed, self.batch_size = victim, threat, seed, batch_size
        self.verdict = verdict
        self.shapes = shapes if shapes != "auto" else ("bucket" if victim.device.type == "cuda" else "exact")
        self.needed = 0  # passes that an image under attack needed: the floor of what was spent

    # -- clean pass ---------------------------------------------------------------------------------------------------

    def open(self, x: Tensor, y: Tensor, keys: Tensor, keep_images: bool = True) -> Ledger:
        """The clean forward of every image: predictions, margins, and the logits from which targets are taken."""
        n, home = len(x), x.device
        clean = torch.empty(n, dtype=torch.int64, device=home)
        margin = torch.empty(n, dtype=torch.float32, device=home)
        rows = []
        for start in range(0, n, self.batch_size):
            part = slice(start, start + self.batch_size)
            labels = y[part].to(self.victim.device)
            prediction, gap, logits = self._judge(self._pixels(x[part]), labels)
            self.needed += len(labels)
            clean[part], margin[part] = prediction.to(home), gap.to(home)
            rows.append(logits.to(home))
        robust = clean == y
        adversarial = reference.pixels(x).clone() if keep_images else None
        return Ledger(
            x, y, keys, clean, margin, torch.cat(rows) if rows else torch.empty(0, 2, device=home),
            robust, clean.clone(), margin.clone(), torch.where(robust, -1, 0), torch.zeros(n, device=home),
            adversarial, [""] * n, torch.zeros(n, dtype=torch.int64, device=home),
        )  # fmt: skip

    def _pixels(self, x: Tensor) -> Tensor:
        return reference.pixels(x.to(self.victim.device))

    def _judge(self, x: Tensor, y: Tensor, eot: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction, margin, logits in float32, at a batch shape that the shape policy allows."""
        n = len(x)
        pad = self._shape(n) - n
        if pad:
            x, y = torch.cat([x, x[:1].expand(pad, *x.shape[1:])]), torch.cat([y, y[:1].expand(pad)])
        prediction, margin, logits = self.victim.judge(x, y)
        for _ in range(eot - 1):
            logits = logits + self.victim.exact(x)
        if eot > 1:
            logits = logits / eot
            prediction, margin = logits.argmax(1), margins(logits, y)
        return prediction[:n], margin[:n], logits[:n]

    def _shape(self, n: int) -> int:
        """The batch shape for n images under the shape policy."""
        if self.shapes == "exact" or n >= self.batch_size:
            return n
        if self.shapes == "fixed":
            return self.batch_size
        return min(self.batch_size, 1 << max(n - 1, 0).bit_length())

    # -- one round ----------------------------------------------------------------------------------------------------

    def run(self, ledger: Ledger, this: Round) -> None:
        """Attack every image that still stands, and write down who fell."""
        queue = deque(torch.nonzero(ledger.robust).flatten().tolist())
        if not queue:
            return
        width = min(self.batch_size, self._shape(len(queue)))
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
        target = self._shape(len(live))
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
        return state

    def _pass(self, ledger: Ledger, this: Round, state: State, image: list[int], age: list[int]) -> set[int]:
        """Forward, gradient and step for the whole batch; returns the slots whose image has fallen."""
        x = state["x"]
        logits, loss, grad = self._evaluate(this, state)
        fallen: set[int] = set()
        live = [slot for slot, i in enumerate(image) if i >= 0]
        if self.verdict == "any":
            wrong = this.schedule.suspects(self.threat, state, logits.argmax(1) != state["y"])
            finite = torch.isfinite(loss.flatten(1).sum(1)) if loss.ndim > 1 else torch.isfinite(loss)
            if grad is not None:
                finite = finite & torch.isfinite(grad.flatten(1).sum(1, dtype=torch.float32))
            flags = torch.stack([wrong, finite]).tolist()  # the one wait of this pass
            if not all(flags[1][slot] for slot in live):
                raise _not_finite("logits or gradients")
            suspects = [slot for slot in live if flags[0][slot]]
            if suspects:
                steps = {slot: age[slot] + 1 for slot in suspects}
                fallen = self._confirm(ledger, this, x, image, suspects, steps)
        self._count(this, len(live), len(live) - len(fallen), loss)
        this.schedule.advance(self.threat, state, Seen(loss, grad, logits, age))
        return fallen

    def _count(self, this: Round, forwards: int, gradients: int, loss: Tensor) -> None:
        """A forward for each image under attack, a gradient for each that has to move on."""
        backwards = loss[0].numel() * gradients if this.schedule.needs_gradient else 0
        self.needed += this.eot * (forwards + backwards)

    def _evaluate(self, this: Round, state: State) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits, per-image losses and the gradient with respect to the network's input; averaged over `eot` draws."""
        aux = {k[4:]: v for k, v in state.items() if k.startswith("aux.")}
        net = state["net"].detach()
        total: tuple[Tensor, ...] | None = None
        for _ in range(this.eot):
            if this.schedule.needs_gradient:
                net.requires_grad_()
                with torch.enable_grad():
                    logits = self.victim.logits(net)
                    self.victim.differentiable(logits)
                    loss = this.objective(logits, state["y"], aux)
                grad = self.victim.gradient(loss, net, logits if this.schedule.scale_free else None)
                sample = (logits.detach(), loss.detach(), grad)
            else:
                with torch.no_grad():
                    logits = self.victim.logits(net)
                    sample = (logits, this.objective(logits, state["y"], aux))
            total = sample if total is None else tuple(a + b for a, b in zip(total, sample, strict=True))
        if this.eot > 1:
            total = tuple(a / this.eot for a in total)
        return total[0], total[1], total[2] if len(total) > 2 else None

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def _confirm(self, ledger, this, x: Tensor, image: list[int], slots: list[int], steps: dict[int, int]) -> set[int]:
        """Score the suspects again in float32; those that are wrong there too have fallen."""
        where = torch.tensor(slots, device=x.device)
        images = [image[slot] for slot in slots]
        examples, count = x.index_select(0, where), [steps[slot] for slot in slots]
        fell = self.score(ledger, this.attack, images, examples, count, eot=this.eot)
        return {slot for slot, f in zip(slots, fell, strict=True) if f}

    def _settle(self, ledger: Ledger, this: Round, waiting: list[tuple[int, Tensor]]) -> None:
        """The last word on images that have used up their steps: their last iterate, in float32."""
        images = [i for i, _ in waiting]
        x = torch.stack([last for _, last in waiting])
        steps = [this.schedule.steps + 1] * len(images)
        self.score(ledger, this.attack, images, x, steps, final=True, eot=this.eot)

    def score(
        self,
        ledger: Ledger,
        attack: str,
        images: list[int],
        x: Tensor,
        steps: list[int],
        *,
        final: bool = False,
        eot: int = 1,
    ) -> list[bool]:
        """Judge `x`; write down falls, and for a standing image (final) the example that came closest to felling it."""
        home = ledger.x.device
        at = torch.tensor(images, device=home)
        x0, y = ledger.x[at].to(x.device), ledger.y[at].to(x.device)
        prediction, margin, _ = self._judge(x, y, eot)
        self.needed += len(images) * eot
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
            ledger.felled_by[i] = attack
        return fell.tolist()

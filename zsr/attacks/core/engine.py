"""The loop of all attacks: a batch of constant shape, which fooled images leave and queued images enter.

A `Round` is one run of a schedule with an objective over the images that are still robust: a restart, a target class,
one part of AutoAttack. Each pass does the following for every slot of the batch:

    forward -> fooled? -> images that are fooled are scored again in float32, and leave if that confirms it
            -> gradient, step

An image also leaves after its last step. Last iterates are scored in float32 in batches of their own, so no backward is
wasted on them. The network sees a full batch until the queue is empty; then the batch shrinks (`BatchShapes`). Each
pass has one device sync, to read which images were fooled. With `verdict="last"` no image leaves early, and there is no
sync.
"""

from collections import deque

import torch
from torch import Tensor

from zsr.attacks.core.batch_shapes import BatchShapes
from zsr.attacks.core.gradient_signs import FIRST_LOSS, Watch
from zsr.attacks.core.ledger import Ledger
from zsr.attacks.core.schedule import PassResult, Round, State
from zsr.attacks.core.scorer import Scorer
from zsr.attacks.core.slots import Slots
from zsr.attacks.core.threat import Threat
from zsr.attacks.core.victim import Victim, not_finite
from zsr.errors import unknown

LastIterates = list[tuple[int, Tensor]]  # images that have made their last step, and where it led


class Engine:
    """Runs rounds for one victim and one threat; between rounds, all that is known is in the ledger."""

    def __init__(
        self,
        victim: Victim,
        threat: Threat,
        shapes: BatchShapes,
        *,
        seed: int = 0,
        verdict: str = "any",
        eot: int = 1,
    ) -> None:
        if verdict not in ("any", "last"):
            raise unknown("verdict", verdict, ("any", "last"), "attack")
        self.victim, self.threat, self.shapes, self.seed, self.verdict = victim, threat, shapes, seed, verdict
        self.scorer = Scorer(victim, threat, shapes, eot)
        self.watch = Watch(victim.device)
        self._all_finite = torch.ones((), dtype=torch.bool, device=victim.device)  # kept for verdict 'last' alone

    def run(self, ledger: Ledger, round_: Round) -> None:
        """Attack every image that is still robust, and write the verdicts into the ledger."""
        queue: deque[int] = deque(ledger.still_robust().tolist())
        slots = Slots(min(self.shapes.batch_size, self.shapes.rows(len(queue))))
        last: LastIterates = []
        while queue or slots.live():
            slots.fill(queue, lambda images: self._begin(ledger, round_, images))
            slots.shrink(self.shapes.rows(len(slots.live())))
            fooled = self._pass(ledger, round_, slots)
            slots.retire(fooled)
            last += self._finish(round_, slots)
            last = self._score_last(ledger, round_, last, at_least=self.shapes.batch_size)
        self._check_finite()
        self._score_last(ledger, round_, last, at_least=1)

    def _begin(self, ledger: Ledger, round_: Round, images: list[int]) -> State:
        """The first state of these images, one row each."""
        device = self.victim.device
        index = torch.tensor(images, device=ledger.x.device)
        x0, y, key = (t[index].to(device) for t in (ledger.x, ledger.y, ledger.keys))
        state = {"x0": x0.contiguous(), "y": y, "key": key}
        logits = ledger.clean_logits[index].to(device)
        state |= {f"aux.{name}": value for name, value in round_.objective.prepare(logits, y).items()}
        state |= round_.schedule.begin(self.threat, state, self.seed, round_.stream)
        state[FIRST_LOSS] = torch.zeros(len(x0), device=device)
        return state

    def _pass(self, ledger: Ledger, round_: Round, slots: Slots) -> list[int]:
        """Forward, gradient and step for the whole batch; returns the slots whose image was fooled."""
        live, state = slots.live(), slots.state
        result = self._evaluate(round_, slots)
        wrong = result.logits.argmax(1) != state["y"]
        self.watch.see(round_, slots, result, wrong)
        finite = result.finite_rows()
        if self.verdict == "last":
            self._all_finite &= finite.all()  # read at the end of the round: no device sync
            fooled = []
        else:
            wrong = round_.schedule.suspects(self.threat, state, wrong)
            suspects = self._read(wrong, finite, live)
            fooled = self._confirm(ledger, round_, slots, suspects)
        ledger.needed += _needed(round_, result.loss, forwards=len(live), gradients=len(live) - len(fooled))
        round_.schedule.advance(self.threat, state, result)
        slots.count_step()
        return fooled

    def _evaluate(self, round_: Round, slots: Slots) -> PassResult:
        """Logits, per-image losses and the gradient with respect to the network's input; averaged over `eot` draws."""
        state, schedule = slots.state, round_.schedule
        aux = {name.removeprefix("aux."): value for name, value in state.items() if name.startswith("aux.")}

        def forward_and_gradient(net: Tensor, y: Tensor, *aux_rows: Tensor) -> tuple[Tensor, ...]:
            net, rows = net.detach(), dict(zip(aux, aux_rows, strict=True))
            if not schedule.needs_gradient:
                with torch.no_grad():
                    logits = self.victim.logits(net)
                    return logits, round_.objective(logits, y, rows)
            net.requires_grad_()
            with torch.enable_grad():
                logits = self.victim.logits(net)
                self.victim.differentiable(logits)
                loss = round_.objective(logits, y, rows)
            grad = self.victim.gradient(loss, net, logits if schedule.scale_free else None)
            return logits.detach(), loss.detach(), grad

        inputs = state["net"], state["y"], *aux.values()
        total = self.victim.memory.within(forward_and_gradient, *inputs)
        for _ in range(round_.eot - 1):
            sample = self.victim.memory.within(forward_and_gradient, *inputs)
            total = tuple(a + b for a, b in zip(total, sample, strict=True))
        if round_.eot > 1:
            total = tuple(a / round_.eot for a in total)
        logits, loss, *grad = total
        return PassResult(loss, grad[0] if grad else None, logits, slots.age, self.shapes.fixed)

    def _read(self, wrong: Tensor, finite: Tensor, live: list[int]) -> list[int]:
        """The live slots whose image seems to be fooled. The one device sync of a pass."""
        is_wrong, is_finite = torch.stack([wrong, finite]).tolist()
        if not all(is_finite[slot] for slot in live):
            raise not_finite("logits or gradients")
        return [slot for slot in live if is_wrong[slot]]

    def _confirm(self, ledger: Ledger, round_: Round, slots: Slots, suspects: list[int]) -> list[int]:
        """Score the suspects in float32; returns those that are fooled there too."""
        if not suspects:
            return []
        x = slots.state["x"]
        images = [slots.image[slot] for slot in suspects]
        iterates = [slots.age[slot] + 1 for slot in suspects]
        examples = x.index_select(0, torch.tensor(suspects, device=x.device))
        verdicts = self.scorer.score(ledger, round_.attack, images, examples, iterates)
        ledger.unconfirmed |= {image for image, is_fooled in zip(images, verdicts, strict=True) if not is_fooled}
        return [slot for slot, is_fooled in zip(suspects, verdicts, strict=True) if is_fooled]

    def _finish(self, round_: Round, slots: Slots) -> LastIterates:
        """Take the images that have made their last step out of their slots."""
        finished = slots.at_age(round_.schedule.steps)
        if not finished:
            return []
        images = [slots.image[slot] for slot in finished]
        examples = round_.schedule.last(self.threat, slots.state, torch.tensor(finished, device=self.victim.device))
        slots.retire(finished)
        return list(zip(images, examples, strict=True))

    def _score_last(self, ledger: Ledger, round_: Round, last: LastIterates, at_least: int) -> LastIterates:
        """Score last iterates, batch by batch, as long as there are `at_least` so many; returns the others."""
        while len(last) >= at_least:
            batch, last = last[: self.shapes.batch_size], last[self.shapes.batch_size :]
            images, examples = [image for image, _ in batch], torch.stack([x for _, x in batch])
            iterates = [round_.schedule.steps + 1] * len(images)
            self.scorer.score(ledger, round_.attack, images, examples, iterates, final=True)
        return last

    def _check_finite(self) -> None:
        if self.verdict == "last" and not bool(self._all_finite):
            raise not_finite("logits or gradients")


def _needed(round_: Round, loss: Tensor, *, forwards: int, gradients: int) -> int:
    """The passes that a step needs: a forward per image, and a backward per loss of each image that moves on."""
    backwards = loss[0].numel() * gradients if round_.schedule.needs_gradient else 0
    return round_.eot * (forwards + backwards)

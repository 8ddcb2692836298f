"""Square attack in L2 and L1: perturbation mass moves between windows (Andriushchenko et al. 2020, algorithm 3).

A query takes two windows. The mass of both goes into the first one, shaped as the old perturbation there plus a bump
pattern (two concentric pyramids of opposite sign), channel by channel; the second one is emptied; the result is scaled
(L2) or projected (L1) onto the ball. Windows differ from image to image, so patches are placed by gathering from a
centred pattern, on full images: more arithmetic than slicing, none of it waiting for the host.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from zsr.attacks.schedule import Schedule, Seen, State, sent
from zsr.attacks.threat import Threat
from zsr.errors import ZsrError
from zsr_kernels import draws, reference

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # the covered share halves after these queries of 10000


def share(query: int, p_init: float) -> float:
    """The share of the image that a patch covers."""
    return p_init / 2 ** sum(query > limit for limit in HALVINGS)


@cache
def sides(queries: int, p_init: float, h: int, w: int, smallest: int = 1, odd: bool = False) -> tuple[int, ...]:
    """The side of the square patch of each query: it covers `share` of the image."""
    found = []
    for query in range(queries + 1):
        side = max(round(math.sqrt(share(query, p_init) * h * w)), smallest)
        found.append(min(side // 2 * 2 + 1 if odd else side, h, w))
    return tuple(found)


def images(x0: Tensor) -> Tensor:
    """x0 as float32 [B, C, H, W]: patches have sides."""
    if x0.ndim != 4:
        raise ZsrError(f"attack 'square': it paints patches on images [N, C, H, W], x is {['N', *x0.shape[1:]]}")
    return reference.pixels(x0)


def window(start: Tensor, size: Tensor, length: int) -> Tensor:
    """[B, length] mask of the interval [start, start + size)."""
    at = torch.arange(length, device=start.device)
    return (at >= start) & (at < start + size)


def pyramid(rows: int, columns: int, power: int) -> Tensor:
    """Nested rectangles around the middle, the k-th weighted 1 / k^power: the bump, [rows, columns], not normalised."""
    bump = torch.zeros(rows, columns)
    top, left = rows // 2, columns // 2
    for k in range(max(rows // 2, columns // 2) + 1):
        bump[max(top - k, 0) : top + k + 1, max(left - k, 0) : left + k + 1] += 1.0 / (k + 1) ** power
    return bump


@cache
def pattern(size: int, norm: str) -> Tensor:
    """The query pattern of a window: one bump above, its negative below, each and together of norm 1."""
    power, p = (2, 2) if norm == "l2" else (4, 1)
    eta = torch.zeros(size, size)
    half = size // 2
    for part, sign in ((slice(0, half), 1.0), (slice(half, size), -1.0)):
        rows = len(range(size)[part])
        if rows:
            bump = pyramid(rows, size, power)
            eta[part] = sign * bump / bump.norm(p)
    return eta / eta.norm(p)


@dataclass(frozen=True)
class PatchSteps(Schedule):
    """Random search in L2 and L1. Age 0 is a grid of bumps, age k the k-th query."""

    steps: int = 5000
    p_init: float = 0.8
    needs_gradient: bool = False

    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        x0 = images(state["x0"])
        b, c, h, w = x0.shape
        first, second = draws.stream_keys(state["key"], seed, stream)
        tile = max(min(h, w) // 5, 1)
        rows, columns = h // tile, w // tile
        u = draws.draw(first, second, torch.arange(rows * columns * (c + 1), dtype=torch.int32, device=x0.device))
        u = u.view(b, rows, columns, c + 1)
        eta = pattern(tile, threat.norm).to(x0.device)
        turned = torch.where((u[..., 0] < 0.5)[..., None, None], eta, eta.T)  # [B, rows, columns, tile, tile]
        signs = torch.where(u[..., 1:] < 0.5, 1.0, -1.0).permute(0, 3, 1, 2)  # [B, C, rows, columns]
        tiles = signs[..., None, None] * turned[:, None]
        grid = tiles.permute(0, 1, 2, 4, 3, 5).reshape(b, c, rows * tile, columns * tile)
        top, left = (h - rows * tile) // 2, (w - columns * tile) // 2
        delta = torch.zeros_like(x0)
        delta[:, :, top : top + rows * tile, left : left + columns * tile] = grid
        x = self._place(threat, delta, x0)
        return {
            "x": x, "net": threat.enter(x), "best": x,
            "best_loss": torch.full((b,), -torch.inf, device=x0.device), "first": first, "second": second,
        }  # fmt: skip

    def _place(self, threat: Threat, delta: Tensor, x0: Tensor) -> Tensor:
        if threat.norm == "l1":
            return reference.l1_project(x0 + delta, x0, threat.eps)
        return reference.l2_project(x0 + threat.eps * reference.unit(delta), x0, threat.eps)

    def advance(self, threat: Threat, state: State, seen: Seen) -> None:
        s, x0 = state, reference.pixels(state["x0"])
        better = seen.loss > s["best_loss"]
        s["best"] = reference.select(better, s["x"], s["best"])
        s["best_loss"] = torch.where(better, seen.loss, s["best_loss"])
        s["x"] = self._place(threat, self._propose(threat, s, s["best"] - x0, seen.age), x0)
        s["net"] = threat.enter(s["x"])

    def _propose(self, threat: Threat, s: State, delta: Tensor, age: list[int]) -> Tensor:
        _, c, h, w = delta.shape
        device, p = delta.device, 2 if threat.norm == "l2" else 1
        table = sides(self.steps, self.p_init, h, w, 3, True)
        mine = [table[a] for a in age]
        sizes = sent(mine, device)[:, None]
        count = c + 5
        origin = (h * w) * (c + 1)  # beyond the start's numbers
        position = sent(age, device, torch.int32)[:, None] * count + origin
        u = draws.draw(s["first"], s["second"], position + torch.arange(count, dtype=torch.int32, device=device))
        corners = [(u[:, k : k + 1] * (n - sizes + 1)).long() for k, n in enumerate((h, w, h, w))]
        into, out_of = (_window_mask(corners[2 * k], corners[2 * k + 1], sizes, h, w) for k in (0, 1))

        mass = _norm(delta, p)  # [B, C, 1, 1]
        total = reference.per_image(reference.norms(delta, p), delta)
        in_windows = _norm(delta * (into | out_of), p)
        bump = _placed_patterns(mine, corners[0], corners[1], u[:, 4] < 0.5, h, w, threat.norm)
        signs = torch.where(u[:, 5:] < 0.5, 1.0, -1.0)[:, :, None, None]
        inside = delta * into
        new = bump[:, None] * signs + inside / (1e-12 + _norm(inside, p))
        if p == 2:
            room = ((threat.eps**2 - total.square()).clamp_min(0.0) / c + in_windows.square()).sqrt()
        else:
            room = ((threat.eps - total).clamp_min(0.0) / c + in_windows) * c
        new = new / (1e-12 + _norm(new, p)) * room.expand_as(mass)
        return torch.where(into, new, torch.where(out_of, torch.zeros_like(delta), delta))


def _norm(delta: Tensor, p: int) -> Tensor:
    """Per image and channel, [B, C, 1, 1]."""
    return delta.abs().sum((2, 3), keepdim=True) if p == 1 else delta.square().sum((2, 3), keepdim=True).sqrt()


def _window_mask(top: Tensor, left: Tensor, sizes: Tensor, h: int, w: int) -> Tensor:
    return window(top, sizes, h)[:, None, :, None] & window(left, sizes, w)[:, None, None, :]


def _placed_patterns(sides: list[int], top: Tensor, left: Tensor, turn: Tensor, h: int, w: int, norm: str) -> Tensor:
    """Each image's pattern, of its own size, at its window, zero elsewhere: [B, H, W]."""
    device = top.device
    largest = max(sides)
    kinds = sorted(set(sides))
    table = torch.zeros(len(kinds), largest + 1, largest + 1, device=device)  # the last row and column stay zero
    for k, size in enumerate(kinds):
        table[k, :size, :size] = pattern(size, norm).to(device, non_blocking=True)
    mine = table[sent([kinds.index(size) for size in sides], device)]
    mine = torch.where(turn[:, None, None], mine, mine.transpose(1, 2))
    rows = (torch.arange(h, device=device) - top).clamp(-1, largest) % (largest + 1)
    columns = (torch.arange(w, device=device) - left).clamp(-1, largest) % (largest + 1)
    picked = mine.gather(1, rows[:, :, None].expand(-1, -1, largest + 1))
    return picked.gather(2, columns[:, None, :].expand(-1, h, -1))

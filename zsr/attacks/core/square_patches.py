"""Square attack in L2 and L1: perturbation mass moves between windows (Andriushchenko et al. 2020, algorithm 3).

A query takes two windows. The mass of both goes into the first one, shaped as the old perturbation there plus a bump
pattern (two concentric pyramids of opposite sign), channel by channel; the second one is emptied; the result is scaled
(L2) or projected (L1) onto the ball. Windows differ from image to image: their pixels are gathered and scattered by
index, and whole images are touched by what needs all of them alone, the norm and the ball.
"""

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor

from zsr.attacks.core.schedule import PassResult, Schedule, State, sent
from zsr.attacks.core.threat import Threat
from zsr.errors import ZsrError
from zsr_kernels import balls, draws, reference

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # the covered share halves after these queries of 10000


def share(query: int, p_init: float) -> float:
    """The share of the image that a patch covers."""
    return p_init / float(2 ** sum(query > limit for limit in HALVINGS))


@cache
def sides(queries: int, p_init: float, h: int, w: int, smallest: int = 1, odd: bool = False) -> tuple[int, ...]:
    """The side of the square patch of each query: it covers `share` of the image."""
    table = []
    for query in range(queries + 1):
        side = max(round(math.sqrt(share(query, p_init) * h * w)), smallest)
        table.append(min(side // 2 * 2 + 1 if odd else side, h, w))
    return tuple(table)


def images(x0: Tensor) -> Tensor:
    """x0 as float32 [B, C, H, W]: patches have sides."""
    if x0.ndim != 4:
        raise ZsrError(f"attack 'square': it paints patches on images [N, C, H, W], x is {['N', *x0.shape[1:]]}")
    return reference.pixels(x0)


def along(sizes: Tensor, longest: int) -> Tensor:
    """[B, longest] steps along the sides [B, 1] of patches; shorter ones list their last row and column again."""
    return torch.minimum(torch.arange(longest, device=sizes.device), sizes - 1)


def patch(top: Tensor, left: Tensor, steps: Tensor, width: int) -> Tensor:
    """[B, longest²] the pixels of each image's square, numbered row by row."""
    return ((top + steps)[:, :, None] * width + (left + steps)[:, None, :]).flatten(1)


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
    pattern: Tensor = eta / eta.norm(p)
    return pattern


@lru_cache(maxsize=16)
def patterns(sizes: tuple[int, ...], longest: int, norm: str, device: torch.device) -> Tensor:
    """[sizes, longest, longest]: the pattern of each size, its last row and column again up to there."""
    indices = [along(torch.tensor([[size]]), longest)[0] for size in sizes]
    padded = [pattern(size, norm)[at][:, at] for size, at in zip(sizes, indices, strict=True)]
    return torch.stack(padded).to(device)


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
        x = self._project(threat, delta, x0)
        return {
            "x": x, "net": threat.enter(x), "best": x.clone(),
            "best_loss": torch.full((b,), -torch.inf, device=x0.device), "first": first, "second": second,
        }  # fmt: skip

    def _project(self, threat: Threat, delta: Tensor, x0: Tensor) -> Tensor:
        if threat.norm == "l1":
            return balls.l1_project(x0 + delta, x0, threat.eps)
        return (x0 + threat.eps * balls.unit(delta)).clamp(0.0, 1.0)

    def advance(self, threat: Threat, state: State, result: PassResult) -> None:
        s, x0 = state, reference.pixels(state["x0"])
        reference.keep_rows(result.loss > s["best_loss"], s["x"], s["best"])
        s["best_loss"] = torch.maximum(result.loss, s["best_loss"])
        s["x"] = self._project(threat, self._propose(threat, s, s["best"] - x0, result), x0)
        s["net"] = threat.enter(s["x"])

    def _propose(self, threat: Threat, s: State, delta: Tensor, result: PassResult) -> Tensor:
        """The next perturbation, written into `delta`."""
        _, c, h, w = delta.shape
        device, p = delta.device, 2 if threat.norm == "l2" else 1
        table = sides(self.steps, self.p_init, h, w, 3, True)
        mine = [table[a] for a in result.age]
        longest = max(table) if result.fixed else max(mine)  # sums over patches round by their length
        sizes = sent(mine, device)[:, None]
        count = c + 5
        origin = (h * w) * (c + 1)  # beyond the start's numbers
        position = sent(result.age, device, torch.int32)[:, None] * count + origin
        u = draws.draw(s["first"], s["second"], position + torch.arange(count, dtype=torch.int32, device=device))
        top, left, top_out, left_out = ((u[:, k : k + 1] * (n - sizes + 1)).long() for k, n in enumerate((h, w, h, w)))
        steps = along(sizes, longest)
        into, out_of = patch(top, left, steps, w), patch(top_out, left_out, steps, w)
        first = steps == torch.arange(longest, device=device)  # what is listed again counts once
        once = _both(first, first)
        apart = once & ~_both(_within(top_out + steps, top, sizes), _within(left_out + steps, left, sizes))

        flat = delta.flatten(2)
        into, out_of = (at[:, None].expand(-1, c, -1) for at in (into, out_of))
        old = flat.gather(2, into)
        here, gone = _mass(old, p, once), _mass(flat.gather(2, out_of), p, apart)
        total = _mass(flat.flatten(1)[:, None], p)
        new = _bumps(threat.norm, mine, longest, u[:, 4] < 0.5)
        new = new * torch.where(u[:, 5:] < 0.5, 1.0, -1.0)[:, :, None] + old / (1e-12 + _root(here, p))
        room = (threat.eps**p - total).clamp_min(0.0) / c + here + gone
        room = room.sqrt() if p == 2 else room * c
        new = new / (1e-12 + _root(_mass(new, p, once), p)) * room
        return flat.scatter_(2, out_of, 0.0).scatter_(2, into, new).view_as(delta)


def _bumps(norm: str, sizes: list[int], longest: int, turn: Tensor) -> Tensor:
    """Each image's pattern, of its own size, [B, 1, longest²]."""
    kinds = tuple(sorted(set(sizes)))
    mine = sent([kinds.index(size) for size in sizes], turn.device)
    bump = patterns(kinds, longest, norm, turn.device)[mine]
    return torch.where(turn[:, None, None], bump, bump.transpose(1, 2)).flatten(1)[:, None]


def _mass(values: Tensor, p: int, counted: Tensor | None = None) -> Tensor:
    """Sum of |v|^p over the last dimension, which stays; `counted` marks the values that count."""
    powers = values.abs() if p == 1 else values.square()
    return (powers if counted is None else powers * counted).sum(-1, keepdim=True)


def _root(mass: Tensor, p: int) -> Tensor:
    return mass if p == 1 else mass.sqrt()


def _within(at: Tensor, start: Tensor, size: Tensor) -> Tensor:
    return (at >= start) & (at < start + size)


def _both(rows: Tensor, columns: Tensor) -> Tensor:
    """[B, 1, n]: pixels of a patch whose row and whose column are marked."""
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)[:, None]

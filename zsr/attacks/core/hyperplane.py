"""The nearest point of a hyperplane inside the box [0, 1], in L-infinity, L2 and L1: the geometry of FAB.

Wanted is the smallest d with w . d = -c and 0 <= t + d <= 1. Every coordinate that helps moves in the direction
u_i = -sign(c w_i), at most as far as the box lets it, room_i. In L-infinity and L2 all move together,

    |d_i| = min(level * v_i, room_i),   v = 1 (L-infinity) or |w| (L2),

and the level is the root of sum_i |w_i| min(level v_i, room_i) = |c|: increasing, concave and piecewise linear.
Newton's method from the left reaches the root of such a function after a few pieces; the authors' code sorts every
image, which costs several times as much. In L1 the coordinates fill up one after the other, largest |w| first. If the
box does not reach the hyperplane, d goes as far as the box does.
"""

import torch
from torch import Tensor

from zsr_kernels.balls import rarely


def project_onto_hyperplane(t: Tensor, w: Tensor, c: Tensor, norm: str) -> Tensor:
    """The step d for points t `[B, D]`, normals w `[B, D]` and values c `[B]` of the linear function at t."""
    size = w.abs()
    towards = -w.sign() * torch.where(c >= 0, 1.0, -1.0)[:, None]
    room = 0.5 + towards * (0.5 - t)  # 1 - t upwards, t downwards
    need = c.abs()[:, None]
    if norm == "linf":
        moved = torch.minimum(_level(size, room, need), room)
    elif norm == "l2":
        limit = room / size.clamp_min(1e-12)
        moved = torch.minimum(_level(size.square(), limit, need), limit) * size
    else:
        moved = _fill(size, room, need)
    return towards * moved


def _level(rate: Tensor, limit: Tensor, need: Tensor, rounds: int = 30) -> Tensor:
    """The root of sum_i rate_i min(level, limit_i) = need, `[B, 1]`; infinite if there is none."""
    # the two sums that Newton needs, over the saturated coordinates, are products [B, 1, D] x [B, D, 1]
    full = (rate * limit)[:, :, None]
    all_rates = rate.sum(1, keepdim=True)
    level = need / all_rates.clamp_min(1e-30)
    done = torch.zeros_like(need, dtype=torch.bool)
    for k in range(rounds):
        saturated = (limit <= level).to(rate.dtype)[:, None]
        free = all_rates - torch.bmm(saturated, rate[:, :, None])[:, 0]
        new = torch.where(free > 1e-6 * all_rates, (need - torch.bmm(saturated, full)[:, 0]) / free, torch.inf)
        new = torch.maximum(new, level)
        done = done | (new <= level * (1.0 + 1e-6))  # row by row: how far a row is taken must not depend on the others
        level = torch.where(done, level, new)
        if rarely(k, limit) and bool(done.all()):
            break
    return level


def _fill(size: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """L1: coordinates in order of decreasing |w|, each to its limit, until the sum of |w_i| |d_i| is `need`."""
    order = size.argsort(1, descending=True)
    worth = (size * room).gather(1, order)
    before = worth.cumsum(1) - worth
    part = ((need - before) / size.gather(1, order).clamp_min(1e-12)).clamp_min(0.0)
    moved = torch.minimum(part, room.gather(1, order))
    return torch.zeros_like(room).scatter(1, order, torch.where(size.gather(1, order) > 1e-8, moved, 0.0))

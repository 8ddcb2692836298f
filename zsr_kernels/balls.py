"""The balls: norms of an image, and projections onto a ball of radius eps and the box [0, 1], in plain PyTorch.

Part of the reference (`reference.py`). `eps` is a float or one radius per image `[B]`.
"""

import torch
from torch import Tensor


def rows(values: Tensor, like: Tensor) -> Tensor:
    """`[B]` reshaped to broadcast over the images of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def per_image(value: float | Tensor, like: Tensor) -> float | Tensor:
    """A float as it is, or `[B]` reshaped to broadcast over the images of `like`."""
    return rows(value, like) if isinstance(value, Tensor) else value


def column(value: float | Tensor, like: Tensor) -> Tensor:
    """A float, or `[B]`, as float32 `[B, 1]`; a number is filled in on the device: copying it there would wait."""
    if isinstance(value, Tensor):
        return value.to(like.device, torch.float32).reshape(-1, 1).expand(len(like), 1)
    return torch.full((len(like), 1), float(value), device=like.device)


def rarely(k: int, like: Tensor) -> bool:
    """Whether round k asks if all rows are done: each does on a CPU, every eighth on a GPU, where asking waits."""
    return like.device.type == "cpu" or k % 8 == 7


def norms(x: Tensor, p: int) -> Tensor:
    """One L1 or L2 norm per image, [B]."""
    flat = x.flatten(1)
    return flat.abs().sum(1) if p == 1 else flat.square().sum(1).sqrt()


def unit(g: Tensor, p: int = 2, guard: float = 1e-12) -> Tensor:
    """g / (||g|| + guard), per image: a zero gradient gives a zero step, not NaN."""
    return g / rows(norms(g, p) + guard, g)


def linf_project(y: Tensor, x0: Tensor, eps: float | Tensor) -> Tensor:
    """First the ball, then the box. The ball is clamped as x0 +- eps (not as x0 + clamp(y - x0)): one rounding less."""
    radius = per_image(eps, y)
    return torch.minimum(torch.maximum(y, x0 - radius), x0 + radius).clamp(0.0, 1.0)


def l2_project(y: Tensor, x0: Tensor, eps: float | Tensor) -> Tensor:
    """Scale the perturbation into the ball, then clip to the box (which only shortens it: x0 lies in the box)."""
    delta = y - x0
    radius = per_image(eps, y)
    size = rows(norms(delta, 2), y)
    shrink = torch.where(size > radius, radius / size.clamp_min(1e-30), torch.ones_like(size))
    return (x0 + delta * shrink).clamp(0.0, 1.0)


def l1_project(y: Tensor, x0: Tensor, eps: float | Tensor, rounds: int = 40) -> Tensor:
    """The nearest point to y in {||z - x0||_1 <= eps} and the box (Croce & Hein 2021, eq. 5).

    With d = y - x0 and room_i = the distance from x0 to the face of the box towards which d_i points, the solution is
    |d_i|(t) = min(max(|d_i| - t, 0), room_i), for the smallest t >= 0 whose sum is at most eps. The sum is piecewise
    linear in t; Newton's method on it, guarded by bisection, ends on the right piece in a few passes and needs no sort.
    """
    delta = (y - x0).flatten(1)
    origin = x0.flatten(1)
    size = delta.abs()
    room = torch.where(delta > 0, 1.0 - origin, origin)
    radius = column(eps, y)
    radius = radius * (1.0 - 1e-5)  # room for the rounding of the sums
    low, high = torch.zeros_like(radius), size.amax(1, keepdim=True)
    t = low
    done = torch.minimum(size, room).sum(1, keepdim=True) <= radius  # inside already: only the box cuts
    for k in range(rounds):
        left = size - t
        inside = (left > 0) & (left < room)  # where the sum still changes with t
        total = torch.minimum(left.clamp_min(0.0), room).sum(1, keepdim=True)
        over = total > radius * (1.0 + 1e-6)
        low, high = torch.where(over, t, low), torch.where(over, high, t)
        slope = inside.sum(1, keepdim=True)
        newton = t + (total - radius) / slope.clamp_min(1)
        middle = 0.5 * (low + high)
        trusted = (newton > low) & (newton < high) & (slope > 0)
        if k % 3 == 2:  # the sum is neither convex nor concave: Newton may creep, halving never does
            trusted = torch.zeros_like(trusted)
        done = done | (high - low <= 1e-7 * high) | ((total - radius).abs() <= 1e-6 * radius)
        t = torch.where(done, t, torch.where(trusted, newton, middle))
        if rarely(k, t) and bool(done.all()):
            break
    kept = torch.minimum((size - high).clamp_min(0.0), room)  # `high` errs on the inside
    feasible = torch.minimum(size, room)
    kept = torch.where(feasible.sum(1, keepdim=True) <= radius, feasible, kept)
    z = origin + delta.sign() * kept
    # rounded towards x0: the errors of 150,000 pixels add up to 1e-4, too far out of a ball of radius 4
    z = torch.where((z - origin).abs() > kept, torch.nextafter(z, origin), z)
    return z.reshape(y.shape).clamp(0.0, 1.0)

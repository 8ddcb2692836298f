"""The meaning of every kernel, in plain PyTorch: the CPU path, the oracle of the tests, and the text to read first.

All arithmetic is float32, whatever the dtype of the gradient. Images are `[B, C, ...]`, in [0, 1]; the clean image `x0`
may be uint8 (then it means x0 / 255). `step` and `eps` are floats or one value per image `[B]`. `balls.py` holds norms
and projections.
"""

import torch
from torch import Tensor

from zsr_kernels.balls import column, l1_project, l2_project, linf_project, per_image, unit
from zsr_kernels.draws import normal, uniform
from zsr_kernels.normalisation import PIXELS, Normalisation


def pixels(x0: Tensor) -> Tensor:
    """uint8 -> float32 / 255; float32 as it is.

    Divided by a tensor: CUDA multiplies by the reciprocal of a number, and half of the bytes would be another float.
    """
    if x0.dtype != torch.uint8:
        return x0
    return x0.to(torch.float32) / torch.full((), 255.0, device=x0.device)


def per_channel(value: Tensor, like: Tensor) -> Tensor:
    return value.view(1, -1, *[1] * (like.ndim - 2))


def normalize(x: Tensor, normalisation: Normalisation) -> Tensor:
    """The network's input: (x - mean) / std per channel, cast. Without a mean, x itself, cast."""
    x, mean, std = pixels(x), normalisation.mean, normalisation.std
    if mean is not None and std is not None:
        x = (x - per_channel(mean, x)) / per_channel(std, x)
    return x.to(normalisation.dtype)


def normalize_backward(grad: Tensor, std: Tensor | None) -> Tensor:
    """From the gradient with respect to the network's input to that with respect to pixels: g / std, in float32."""
    grad = grad.to(torch.float32)
    return grad if std is None else grad / per_channel(std, grad)


def linf_step(
    x: Tensor,
    x0: Tensor,
    grad: Tensor,
    step: float | Tensor,
    eps: float | Tensor,
    normalisation: Normalisation = PIXELS,
) -> tuple[Tensor, Tensor]:
    """x' = clip_[0,1](clip_{x0 +- eps}(x + step * sign(g))), and the network's input ((x' - mean) / std).to(dtype).

    `grad` is taken with respect to the *normalised* input: sign(g / std) = sign(g). A NaN gradient has sign 0 and
    leaves its pixel alone; NaN in x stays NaN (a clamp that drops NaN would turn it into a valid black pixel).
    """
    g = grad.to(torch.float32)
    direction = (g > 0).to(torch.float32) - (g < 0).to(torch.float32)
    y = linf_project(x + per_image(step, x) * direction, pixels(x0), eps)
    return y, normalize(y, normalisation)


def select(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Image by image: `yes` where `rows` [B], else `no`."""
    return torch.where(rows.view(-1, *[1] * (yes.ndim - 1)), yes, no)


def keep_rows(rows: Tensor, source: Tensor, target: Tensor) -> None:
    """target[i] = source[i] where `rows` [B], in place. On a CPU only those rows are touched."""
    if target.device.type == "cpu":
        kept = rows.nonzero().flatten()
        target.index_copy_(0, kept, source.index_select(0, kept))
    else:  # the number of rows is unknown to the host, and asking would wait
        target.copy_(select(rows, source, target))


def momentum(x: Tensor, z: Tensor, x_prev: Tensor, weight: float | Tensor) -> Tensor:
    """x + a (z - x) + (1 - a) (x - x_prev): APGD's inertia; a = 1 ignores the past."""
    a = per_image(weight, x)
    return x + (z - x) * a + (x - x_prev) * (1.0 - a)


def apgd_step(
    x: Tensor,
    x_prev: Tensor,
    x_best: Tensor,
    x0: Tensor,
    grad: Tensor,
    grad_best: Tensor,
    restore: Tensor | None,
    step: Tensor,
    weight: Tensor,
    eps: float | Tensor,
    normalisation: Normalisation = PIXELS,
    norm: str = "linf",
) -> tuple[Tensor, Tensor, Tensor]:
    """APGD's step (Croce & Hein 2020, eq. 3 and 4): (x', the point it started from, the network's input).

    x, g = x_best, g_best where `restore`;  z = P(x + step * d);  x' = P(x + a (z - x) + (1 - a) (x - x_prev))

    with d = sign(g) in L-infinity and g / ||g||_2 in L2, and P the projection onto the ball and the box.
    """
    x0 = pixels(x0)
    if restore is not None:
        x, grad = select(restore, x_best, x), select(restore, grad_best, grad)
    if norm == "l2":
        z, project = _l2_move(x, x0, grad, step, eps, normalisation.std), l2_project
    else:
        z, project = linf_step(x, x0, grad, step, eps)[0], linf_project
    y = project(momentum(x, z, x_prev, weight), x0, eps)
    return y, x, normalize(y, normalisation)


def apgd_track(
    x: Tensor,
    grad: Tensor,
    loss: Tensor,
    x_best: Tensor,
    grad_best: Tensor,
    loss_best: Tensor,
    loss_last: Tensor,
    rises: Tensor,
) -> None:
    """APGD's bookkeeping, in place on the last five: the best iterate so far and how often the loss rose.

    better = loss > loss_best;  x_best, grad_best, loss_best <- x, grad, loss where better
    rises += loss > loss_last;  loss_last <- loss
    """
    better = loss > loss_best
    keep_rows(better, x, x_best)
    keep_rows(better, grad, grad_best)
    keep_rows(better, loss, loss_best)
    rises += loss > loss_last
    loss_last.copy_(loss)


def l2_step(
    x: Tensor,
    x0: Tensor,
    grad: Tensor,
    step: float | Tensor,
    eps: float | Tensor,
    normalisation: Normalisation = PIXELS,
) -> tuple[Tensor, Tensor]:
    """x' = clip_[0,1](P_eps(x + step * g / ||g||_2)), with g the gradient with respect to pixels."""
    y = _l2_move(x, x0, grad, step, eps, normalisation.std)
    return y, normalize(y, normalisation)


def _l2_move(
    x: Tensor, x0: Tensor, grad: Tensor, step: float | Tensor, eps: float | Tensor, std: Tensor | None
) -> Tensor:
    g = unit(normalize_backward(grad, std))
    return l2_project(x + per_image(step, x) * g, pixels(x0), eps)


def sparse_sign(g: Tensor, share: float | Tensor) -> Tensor:
    """sign(g) on the `share` of coordinates with the largest |g| of each image, divided by their number.

    The steepest direction of the L1 ball is one coordinate; a share of them (SLIDE, Tramer & Boneh 2019) converges in
    practice. Ties with the threshold are taken along.
    """
    flat = g.flatten(1)
    n = flat.shape[1]
    share = column(share, g)
    rank = ((1.0 - share) * n).clamp(0, n - 1).long()
    threshold = flat.abs().sort(1).values.gather(1, rank)
    direction = flat.sign() * (flat.abs() >= threshold)
    return (direction / direction.abs().sum(1, keepdim=True).clamp_min(1.0)).reshape(g.shape)


def l1_step(
    x: Tensor,
    x0: Tensor,
    grad: Tensor,
    step: float | Tensor,
    eps: float | Tensor,
    normalisation: Normalisation = PIXELS,
    share: float | Tensor = 0.05,
) -> tuple[Tensor, Tensor]:
    """x' = P_{L1 ball and box}(x + step * sparse_sign(g)), with g the gradient with respect to pixels."""
    g = sparse_sign(normalize_backward(grad, normalisation.std), share)
    y = l1_project(x + per_image(step, x) * g, pixels(x0), eps)
    return y, normalize(y, normalisation)


def start(
    x0: Tensor,
    keys: Tensor,
    seed: int,
    stream: int,
    eps: float | Tensor,
    norm: str = "linf",
    normalisation: Normalisation = PIXELS,
) -> tuple[Tensor, Tensor]:
    """A random point of the ball and the box, and the network's input there.

    linf: uniform in the cube; l2: uniform on the sphere (as AutoAttack); l1: a normal draw projected (as AutoAttack).
    """
    x0 = pixels(x0)
    n = x0[0].numel() if len(x0) else 0
    if norm == "linf":
        u = uniform(keys, seed, stream, n).view(x0.shape)
        y = linf_project(x0 + per_image(eps, x0) * (2.0 * u - 1.0), x0, eps)
    elif norm == "l2":
        z = normal(keys, seed, stream, n).view(x0.shape)
        y = l2_project(x0 + per_image(eps, x0) * unit(z), x0, eps)
    elif norm == "l1":
        z = normal(keys, seed, stream, n).view(x0.shape)
        y = l1_project(x0 + z, x0, eps)
    else:
        raise ValueError(f"start: unknown norm '{norm}'; known: linf, l2, l1")
    return y, normalize(y, normalisation)

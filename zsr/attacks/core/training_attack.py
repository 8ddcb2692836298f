"""The attack inside training: K steps for every image of the batch; the result is the last iterate.

Differences to an evaluation attack: no image leaves early (training wants the whole batch), no verdict, and the network
is in the mode that the caller chose (eval, or BatchNorm statistics see the attack). The gradient is taken with respect
to the network's input alone, by `torch.autograd.grad`: no parameter's `.grad` is read or written, and parameters need
not be frozen, for autograd computes only what it is asked for.

    out = perturb(net, x0, lambda z: F.cross_entropy(z, y, reduction="none"), eps=1/255, steps=2, step_size=1/255,
                  mean=mean, std=std, keys=index, seed=seed, counter=epoch)
    loss = criterion(net(out.net_input), y)      # the last step has already normalised it
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from zsr.attacks.core.threat import Threat
from zsr.errors import ZsrError
from zsr_kernels import Normalisation


class Perturbed(NamedTuple):
    """`x`: the adversarial images in [0, 1], float32; `net_input`: the same, normalised and cast for the network."""

    x: Tensor
    net_input: Tensor


def perturb(
    net: Callable[[Tensor], Tensor],
    x0: Tensor,
    objective: Callable[[Tensor], Tensor],
    *,
    eps: float,
    steps: int,
    step_size: float,
    norm: str = "linf",
    mean: Tensor | None = None,
    std: Tensor | None = None,
    keys: Tensor | None = None,
    seed: int = 0,
    counter: int = 0,
    random_start: bool = True,
    dtype: torch.dtype = torch.float32,
    kernels: str = "auto",
    loss_scale: float = 1.0,
) -> Perturbed:
    """Climb `objective(net(input))`, which gives one loss per image `[B]`, from a random start, for `steps` steps.

    `net` takes the normalised images and may return anything that `objective` takes (logits, features, a tuple).
    `keys` `[B]` (int64) identify the images, `counter` the visit (epoch or step): the start of an image is a function
    of (seed, key, counter), whatever else is in the batch. `x0`: float32 in [0, 1] or uint8. A step follows the
    direction of the gradient alone: under float16 autocast give a `loss_scale` of about 1024, or small gradients are
    rounded to 0.
    """
    threat = Threat(norm, eps, Normalisation(mean, std, dtype), kernels)
    if not random_start:
        x, net_input = threat.origin(x0)
    elif keys is None:
        raise ZsrError("perturb: random starts are keyed per image; pass keys=[B] int64 (the images' indices)")
    else:
        x, net_input = threat.start(x0, keys, seed, counter)
    for _ in range(steps):
        net_input = net_input.detach().requires_grad_()  # without a normalisation it is x itself: leave that alone
        with torch.enable_grad():
            losses = objective(net(net_input))
        if losses.shape != x.shape[:1]:
            raise ZsrError(f"perturb: the objective must give losses [{len(x)}], gave {tuple(losses.shape)}")
        with torch.enable_grad():
            total = loss_scale * losses.sum()  # not the mean: that scales the gradient with the size of the batch
        (grad,) = torch.autograd.grad(total, net_input)
        x, net_input = threat.step(x, x0, grad, step_size)
    return Perturbed(x, net_input.detach())

"""The model under attack: how it takes images, what it costs, and how it is restored afterwards.

`Normalized(net, mean, std)` says where the normalisation is, so that it can be fused into the attack's step; any other
callable from [0, 1] to logits takes the plain path. Every forward goes through `Victim`, which counts image-passes and
checks the output of each call. Parameters are frozen while the model is attacked; the train/eval state of every
submodule and `requires_grad` of every parameter are restored, also when the attack raises.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

import zsr_kernels
from zsr.attacks.core.objectives import margins
from zsr.attacks.core.out_of_memory import Memory, Passes
from zsr.errors import ZsrError, unknown
from zsr.models.precision import arithmetic, flags
from zsr_kernels import Normalisation, reference

PRECISIONS = ("fp32", "tf32", "fp16")

Model = Callable[[Tensor], Tensor]  # images in [0, 1] -> logits


class Normalized(nn.Module):
    """Images in [0, 1] -> logits, with the normalisation visible to the attack: `net` takes (x - mean) / std."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).flatten().contiguous())
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).flatten().contiguous())
        if self.mean.shape != self.std.shape or not bool((self.std > 0).all()):
            raise ZsrError("Normalized: mean and std need one value per channel each, std > 0")

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        logits: Tensor = self.net((x - self.mean.view(shape)) / self.std.view(shape))
        return logits


class Victim:
    """A model with its normalisation, its precision and the count of passes spent on it."""

    def __init__(
        self,
        model: Model,
        precision: str = "fp32",
        device: torch.device | None = None,
        otherwise: torch.device | str = "cpu",
    ) -> None:
        if precision not in PRECISIONS:
            raise unknown("precision", precision, PRECISIONS, "attack")
        self.model = model
        self.module = model if isinstance(model, nn.Module) else None
        self.precision = precision
        self.device = device or self._device_of_model(torch.device(otherwise))
        self.fused = isinstance(model, Normalized)
        dtype = torch.float16 if precision == "fp16" else torch.float32
        if isinstance(model, Normalized):
            self.net: Model = model.net
            self.normalisation = Normalisation(model.mean.to(self.device), model.std.to(self.device), dtype)
        else:
            self.net = model
            self.normalisation = Normalisation(dtype=dtype)
        self.passes = Passes()
        self.memory = Memory(self.passes)

    def _device_of_model(self, otherwise: torch.device) -> torch.device:
        tensors = [*self.module.parameters(), *self.module.buffers()] if self.module is not None else []
        return tensors[0].device if tensors else otherwise  # a plain callable: where the images are

    # -- forwards -----------------------------------------------------------------------------------------------------

    def logits(self, net_input: Tensor) -> Tensor:
        """Logits in float32 of the network in the attack's precision, with graph if the caller has enabled it."""
        self.passes.forward += len(net_input)
        with arithmetic(self.device, self.precision):
            return self._checked(self.net(net_input), len(net_input)).float()

    def network_input(self, x: Tensor) -> Tensor:
        """The network's input, differentiable with respect to pixels (for attacks that are not made here)."""
        return reference.normalize(x, self.normalisation)

    @torch.no_grad()
    def exact(self, x: Tensor) -> Tensor:
        """Logits of pixels `x` from a fresh float32 forward: verdicts are made of them."""
        float32 = replace(self.normalisation, dtype=torch.float32)

        def forward(x: Tensor) -> tuple[Tensor]:
            self.passes.forward += len(x)
            with arithmetic(self.device):
                logits = self.net(zsr_kernels.normalize(x, float32, "reference"))
                return (self._checked(logits, len(x)).float(),)

        return self.memory.within(forward, x)[0]

    def score(self, x: Tensor, y: Tensor, eot: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction, margin and logits in float32, from a fresh forward, or from the mean of `eot` of them."""
        logits = self.exact(x)
        for _ in range(eot - 1):
            logits = logits + self.exact(x)
        logits = logits / eot if eot > 1 else logits
        if not bool(torch.isfinite(logits).all()):
            raise not_finite("logits")
        if len(y) and int(y.max()) >= logits.shape[1]:
            raise ZsrError(f"attack: label {int(y.max())}, but the model has {logits.shape[1]} classes")
        return logits.argmax(1), margins(logits, y), logits

    def _checked(self, logits: Tensor, n: int) -> Tensor:
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ZsrError(f"attack: the model must map {n} images to logits [{n}, classes], it gave {got}")
        if logits.shape[1] < 2:
            raise ZsrError("attack: the model has one class; nothing can be mistaken for another")
        return logits

    # -- gradients ----------------------------------------------------------------------------------------------------

    def differentiable(self, logits: Tensor) -> None:
        """Raise, with the cure, if autograd has no path from the logits to the input."""
        if not logits.requires_grad:
            raise ZsrError(
                "attack: the model's logits carry no gradient (detached, under no_grad, or not made by torch); "
                "use a black-box attack: 'square' or 'transfer'"
            )

    def gradient(self, loss: Tensor, net_input: Tensor, logits: Tensor | None = None) -> Tensor:
        """d sum(loss) / d input alone; for losses [B, K], K backwards: [B, K, ...].

        With `logits`, each image's gradient may be scaled; in float16 it is, so that it does not underflow (`_scaled`).
        """
        if self.precision == "fp16" and logits is not None:
            loss = _scaled(loss, logits)
        with torch.enable_grad():
            columns = [loss] if loss.ndim == 1 else list(loss.unbind(1))
        grads = []
        for k, column in enumerate(columns, 1):
            self.passes.backward += len(net_input)
            with torch.enable_grad():  # a sum, not grad_outputs: those make autograd import the compiler (0.4 s)
                total = column.sum()
            with flags(self.precision == "tf32"):
                (grad,) = torch.autograd.grad(total, net_input, retain_graph=k < len(columns), allow_unused=True)
            if grad is None:
                raise ZsrError("attack: the model's logits do not depend on its input; use 'square' or 'transfer'")
            grads.append(grad)
        return grads[0] if loss.ndim == 1 else torch.stack(grads, 1)

    # -- restoring the model ------------------------------------------------------------------------------------------

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Eval mode and frozen parameters inside; every flag as it was afterwards."""
        if self.module is None:
            yield
            return
        modes = [(m, m.training) for m in self.module.modules()]
        grads = [(p, p.requires_grad) for p in self.module.parameters()]
        try:
            self.module.eval()
            for p, _ in grads:
                p.requires_grad_(False)
            yield
        finally:
            for m, training in modes:
                m.training = training
            for p, required in grads:
                p.requires_grad_(required)


def _scaled(loss: Tensor, logits: Tensor) -> Tensor:
    """A loss with the same gradient up to one positive factor per image, large enough for float16.

    The cross-entropy of a confident image has a gradient of 1e-6 and less at the logits: in float16 it is 0 further
    down, the sign of 0 is 0, and the image would count as robust because it was never attacked. Here the largest entry
    at the logits of every image becomes 64.
    """
    with torch.enable_grad():
        total = loss.sum()
    (at_logits,) = torch.autograd.grad(total, logits, retain_graph=True)
    at_logits = 64.0 * at_logits / at_logits.abs().amax(1, keepdim=True).clamp_min(1e-30)
    with torch.enable_grad():
        return (logits * at_logits).sum(1)


def not_finite(what: str) -> ZsrError:
    return ZsrError(f"attack: the model's {what} are NaN or infinite; check its weights, or attack in precision 'fp32'")

"""`attack(model, x, y, name, ...)`: checks its arguments, runs the attack, returns `Verdicts`."""

import hashlib
import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

import torch
from torch import Tensor

from zsr import registry
from zsr.attacks.core.base import Attack
from zsr.attacks.core.batch_shapes import BatchShapes
from zsr.attacks.core.engine import Engine
from zsr.attacks.core.threat import Threat
from zsr.attacks.core.verdicts import Verdicts
from zsr.attacks.core.victim import Model, Victim
from zsr.errors import ZsrError, unknown
from zsr.models.precision import arithmetic
from zsr_kernels import KernelError
from zsr_kernels.dispatch import use_triton


@torch.no_grad()
def attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    name: str | Attack = "autoattack",
    *,
    norm: str = "linf",
    eps: float,
    seed: int = 0,
    batch_size: int = 64,
    index: Tensor | None = None,
    verdict: str = "any",
    kernels: str = "auto",
    precision: str = "fp32",
    shapes: str = "auto",
    keep_images: bool = True,
    device: torch.device | str | None = None,
    **settings: object,
) -> Verdicts:
    """Attack `model` (images in [0, 1] -> logits) on images `x` `[N, C, H, W]` (float32, or uint8) with labels `y`.

    model      attacked in eval mode, with frozen parameters, and left as it was; a callable that is no `nn.Module` is
               called as it is: put the network inside it into eval mode yourself
    name       an attack of this package, `zsr.registry.names("attacks")`, whose settings are keyword arguments; or an
               instance of one, settings included
    norm, eps  'linf', 'l2' or 'l1', and the radius in units of [0, 1]: 8/255, not 8
    seed       of all randomness; the same seed gives the same bits
    batch_size images in flight; if memory runs out, fewer pass at once and the verdicts stay
    index      int64 [N]: keys the randomness of each image; by default a hash of its content
    verdict    'any': an iterate that fools counts; 'last': only the last one, as many papers report
    kernels    'auto' (Triton on CUDA, PyTorch on a CPU), or 'reference'
    precision  of the attack's passes: 'fp32', 'tf32', 'fp16'; verdicts are float32 always
    shapes     'exact', 'bucket', 'fixed', 'auto': how the batch shrinks at the end (`core/batch_shapes.py`)
    keep_images  False: no `x_adv`, which saves N images of memory
    device     where slots of the batch go; by default where the model is (a plain callable: where `x` is)
    """
    if isinstance(name, Attack):
        if settings:
            raise ZsrError(
                f"attack: {type(name).__name__} has its settings already; {', '.join(settings)} cannot be given"
            )
        component, name = name, (type(name).label or type(name).__name__).lower()
    else:
        component = build(name, settings)
    if verdict == "last" and not component.last_iterate:
        raise ZsrError(f"attack '{name}' keeps the best iterate by definition; verdict='last' exists for pgd, cw, tpgd")
    _check_numbers(eps, seed, batch_size)
    seed, batch_size = int(seed), int(batch_size)  # torch's generators take no number of numpy's
    if not callable(model):
        raise ZsrError(f"attack: the model must be callable, images -> logits; it is {type(model).__name__}")
    x, y, keys = _inputs(x, y, index)
    victim = Victim(model, precision, torch.device(device) if device is not None else None, otherwise=x.device)
    try:
        use_triton(victim.device, kernels)
    except KernelError as error:
        raise ZsrError(f"attack: {error}") from error
    threat = Threat(norm, float(eps), victim.normalisation, kernels)
    # under the caller's inference_mode no gradient would exist; leaving it switches gradients on
    with (
        torch.inference_mode(False), torch.no_grad(), arithmetic(victim.device), seeded(seed, victim.device),
        victim.frozen(),
    ):  # fmt: skip
        shapes_used = BatchShapes.of(batch_size, shapes, victim.device.type)
        engine = Engine(victim, threat, shapes_used, seed=seed, verdict=verdict, eot=component.eot)
        ledger = engine.scorer.open(x, y, keys, keep_images=keep_images)
        _check_constant(x, ledger.clean_logits)
        notes = component.run(engine, ledger, name) if len(x) else []
    path = "normalisation fused into the step" if victim.fused else "plain path: the model normalises by itself"
    return ledger.to_verdicts(
        passes=victim.passes, notes=[*notes, *victim.memory.notes, path], signs=engine.watch.facts()
    )


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """For models that draw random numbers (the attacks' own are keyed per image): the generators of the CPU and of
    this device, and of no other, begin with `seed`, and are as they were afterwards."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng([device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def build(name: str, settings: dict[str, object]) -> Attack:
    """The attack of this name with these settings; unknown names and settings raise with the nearest known one."""
    cls: type[Attack] = registry.load("attacks", name)
    known = [f.name for f in fields(cls)]
    for key in settings:
        if key not in known:
            raise unknown("setting", key, known, f"attack '{name}'")
    return cls(**settings)


def _check_numbers(eps: float, seed: int, batch_size: int) -> None:
    for what, value in (("seed", seed), ("batch_size", batch_size)):
        if not isinstance(value, numbers.Integral):
            raise ZsrError(f"attack: {what}={value!r} must be a whole number")
    if not -(2**63) <= seed < 2**64:
        raise ZsrError(f"attack: seed={seed} must fit into 64 bits")
    try:
        float(eps)
    except (TypeError, ValueError):
        raise ZsrError(f"attack: eps={eps!r} must be a number, a radius in units of [0, 1] such as 8/255") from None


def _check_constant(x: Tensor, logits: Tensor) -> None:
    """Raise if all images have the same logits: a model that ignores its input would be robust to everything."""
    if len(x) > 1 and bool((logits == logits[0]).all()) and not bool((x == x[0]).all()):
        raise ZsrError("attack: the model gives the same logits for every image; it does not look at them")


def _inputs(x: Tensor, y: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.uint8) or x.ndim < 2:
        raise ZsrError("attack: x must be a float32 tensor [N, C, H, W] in [0, 1], or uint8")
    if x.dtype == torch.float32 and x.numel() and not (float(x.amin()) >= 0 and float(x.amax()) <= 1):
        raise ZsrError(
            f"attack: x must lie in [0, 1], is in [{float(x.amin()):.3g}, {float(x.amax()):.3g}]; "
            "undo the normalisation, and say it by Normalized(net, mean, std)"
        )
    y = torch.as_tensor(y, device=x.device)
    if y.shape != x.shape[:1] or y.is_floating_point() or y.dtype == torch.bool:
        raise ZsrError(f"attack: y must be integer labels [{len(x)}], is {y.dtype} {tuple(y.shape)}")
    if len(y) and int(y.min()) < 0:
        raise ZsrError(f"attack: labels must be >= 0, found {int(y.min())}")
    keys = content_keys(x) if index is None else torch.as_tensor(index, device=x.device)
    if keys.shape != x.shape[:1] or keys.is_floating_point():
        raise ZsrError(f"attack: index must have one key per image [{len(x)}], is {keys.dtype} {tuple(keys.shape)}")
    return x.detach(), y.to(torch.int64), keys.to(torch.int64)


def content_keys(x: Tensor) -> Tensor:
    """A 63-bit hash of each image's bytes, so that its randomness follows it from batch to batch."""
    rows = [row.tobytes() for row in x.cpu().contiguous().flatten(1).numpy()] if len(x) else []
    hashes = [int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "little") >> 1 for row in rows]
    return torch.tensor(hashes, dtype=torch.int64, device=x.device)

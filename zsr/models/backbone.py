"""A dual encoder and what the project needs of it: pixel statistics, temperature, tokenizer.

A definition says how a model is rebuilt; its `kind` names the file of zsr/models/kinds/ that does it. A new kind is one
more file with `build(definition, seed)`. Nothing here imports open_clip.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.prompted_text_tower import TextTower
from zsr.models.resize import accept_any_size, pair
from zsr.models.tensor_file import check_kind, load
from zsr.storage.records import REPAIR, check_digest

DEFAULT_KIND = "words-clip"  # of a definition that does not say: the drawn architectures


class ClipModel(nn.Module, ABC):
    """What a dual encoder has; open_clip's classes have the same attributes without this base."""

    visual: nn.Module
    logit_scale: nn.Parameter

    @abstractmethod
    def encode_text(self, text: Tensor) -> Tensor:
        """Ids [P, context] -> features [P, D]."""


class Backbone:
    """An image tower and the text tower that its features are compared with."""

    def __init__(
        self,
        clip: ClipModel,
        *,
        mean: list[float],
        std: list[float],
        image_size: int | list[int],
        embed_dim: int,
        tokenize: Callable[[list[str]], list[list[int]]],
        resize: str = "bicubic",
    ) -> None:
        """The state of `clip` is what is saved and loaded."""
        self.clip = clip
        self.mean: tuple[float, ...] = tuple(mean)
        self.std: tuple[float, ...] = tuple(std)
        self.image_size = image_size
        self.embed_dim = embed_dim
        self.tokenize = tokenize
        if not hasattr(clip.visual, "output_dim"):  # open_clip's timm towers do not say it
            clip.visual.output_dim = embed_dim  # type: ignore[assignment]  # a plain attribute
        accept_any_size(clip.visual, pair(image_size), resize)

    @property
    def visual(self) -> nn.Module:
        """Normalised images [B, 3, H, W], of any H and W, -> features [B, D], not of unit length."""
        return self.clip.visual

    @property
    def logit_scale(self) -> float:
        """s of the logits s·cos(f, t)."""
        return self.clip.logit_scale.exp().item()

    def tokens(self, prompts: list[str]) -> Tensor:
        """Ids [P, context]."""
        return torch.tensor(self.tokenize(prompts), dtype=torch.int64)

    @property
    def text(self) -> TextTower:
        """The text tower, for learned prompts."""
        return TextTower(self.clip, self.tokens)

    def encode_text(self, prompts: list[str]) -> Tensor:
        """Features of prompts [P, D], not of unit length."""
        return self.clip.encode_text(self.tokens(prompts).to(self.clip.logit_scale.device))


def build(definition: dict, seed: int = 0) -> Backbone:
    """A model with fresh weights, a function of (definition, seed); the global random state is left as it was."""
    kind = definition.get("kind", DEFAULT_KIND)
    module = importlib.import_module(f"zsr.models.kinds.{kind.replace('-', '_')}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return module.build(definition)
        except TypeError as error:  # open_clip's dataclasses name the key
            raise ZsrError(f"backbone: the architecture is refused: {error}") from error


def definition_of(record: dict) -> dict:
    """How to rebuild a backbone, from its record: fetched ones say it, pretrained ones were planned with it."""
    return record["definition"] if "definition" in record else record["spec"]["arch"]


def load_backbone(weights: Path, record: dict) -> Backbone:
    """A backbone with its weights, in eval mode."""
    check_digest(weights, record["digests"]["weights"])
    backbone = build(definition_of(record))
    fill(backbone.clip, load(weights, REPAIR), weights, whole=True)
    backbone.clip.eval().requires_grad_(False)
    return backbone


def load_model(
    weights: Path,
    record: dict,
    trained: Path,
    trained_record: dict,
    wrap: Callable[..., nn.Module],
    *,
    with_text: bool = False,
) -> Backbone:
    """A backbone with what fine-tuning changed of it put over it; `wrap` adds a method's prompts.

    `with_text`: the method trains text, so that `wrap` asks for the text tower too.
    """
    check_backbone(record, trained_record, trained)
    backbone = load_backbone(weights, record)
    backbone.clip.visual = wrap(backbone.visual, **({"text": backbone.text} if with_text else {}))
    check_digest(trained, trained_record["digests"]["weights"])
    fill(backbone.visual, load(trained, REPAIR), trained, whole=False)
    return backbone


def check_backbone(record: dict, trained_record: dict, trained: Path) -> None:
    """A trained file holds only what differs from its backbone: over another one it would be another model."""
    named, given = trained_record.get("backbone"), record["digests"]["weights"]
    if named is not None and named != given:
        raise ZsrError(
            f"{trained}: trained on the backbone {named[:12]}, this one is {given[:12]}; load it with its own, or "
            f"{REPAIR}"
        )


def save_tensors(backbone: Backbone) -> dict[str, Tensor]:
    """All weights, ready for safetensors."""
    return {name: value.detach().cpu().contiguous() for name, value in backbone.clip.state_dict().items()}


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path | str, *, whole: bool) -> None:
    """Copy tensors into a module; names, shapes and kinds must fit, and all must be there if `whole`."""
    own = module.state_dict()
    for name, value in tensors.items():
        if name not in own:
            raise ZsrError(f"{path}: a checkpoint of another architecture, this one has no tensor '{name}'")
        if own[name].shape != value.shape:
            raise ZsrError(
                f"{path}: a checkpoint of another architecture, '{name}' is {list(value.shape)} there and "
                f"{list(own[name].shape)} here"
            )
        check_kind(name, value, own[name], path)
    missing = sorted(own.keys() - tensors.keys())
    if whole and missing:
        raise ZsrError(f"{path}: a checkpoint of another architecture, it lacks the tensor '{missing[0]}'")
    module.load_state_dict(tensors, strict=whole)

"""Runs open_clip's text tower with learned vectors in its prompts; nothing of the tower is patched.

    out = tower.encode(tower.lay(classes, templates, init, tokens=2), context)      # context [J, M, width]

Layer 0 reads the vectors as words; the layers 1 … J - 1 replace what came out at their places by vectors of their own
(deep prompts, as in MaPLe, arXiv 2210.03117). Sequences are cut behind the longest prompt: under a causal mask what
follows the end of text changes nothing, and 10 tokens in place of 77 are a seventh of the work.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models.prompt_length import check_length, opening, replaced

if TYPE_CHECKING:
    from open_clip.model import CLIP


class Laid(NamedTuple):
    """Prompts with room for learned vectors at the places 1 … M."""

    words: Tensor  # [C, T, L, width] embedded words of C classes in T templates
    ends: Tensor  # [C, T] where the features are taken


class TextTower:
    """The text side of `open_clip.model.CLIP`, and its tokenizer (prompts -> ids [P, context])."""

    def __init__(self, clip: "CLIP", tokens: Callable[[list[str]], Tensor]) -> None:
        if not hasattr(clip, "token_embedding"):
            raise ZsrError(
                f"learned prompts: need a text tower as OpenAI's, this backbone is a {type(clip).__name__}; leave such "
                "methods out for it (`backbones` of the model's entry)"
            )
        self.clip, self._tokens = clip, tokens
        self.width: int = clip.token_embedding.embedding_dim
        self.layers: int = len(clip.transformer.resblocks)
        self.context: int = clip.context_length

    def check(self, method: str) -> None:
        """One line for a text tower that learned prompts do not fit."""
        clip = self.clip
        usual = clip.text_pool_type in ("argmax", "eos") and clip.attn_mask is not None
        if not usual or not clip.transformer.batch_first:
            raise ZsrError(
                f"{method}: needs a causal text tower that reads its features at the end of text, as OpenAI's; leave "
                "the method out for this backbone (`backbones` of the model's entry)"
            )

    def ids(self, prompt: str) -> list[int]:
        """Start, words, end."""
        row = self._tokens([prompt])[0]
        eos = self.clip.text_eos_id if self.clip.text_pool_type == "eos" else None
        end = row.argmax() if eos is None else (row == eos).int().argmax()
        return row[: int(end) + 1].tolist()

    def embed(self, ids: Tensor) -> Tensor:
        """Token embeddings, constants."""
        with torch.no_grad():
            return self.clip.token_embedding(ids.to(self.clip.token_embedding.weight.device))

    def initial(self, init: str, count: int, generator: torch.Generator) -> Tensor:
        """`count` context vectors [M, width]: the first words of `init`, then N(0, 0.02²) as in CoOp."""
        context = 0.02 * torch.randn(count, self.width, generator=generator)
        words = self.ids(init)[1:-1][:count]
        context[: len(words)] = self.embed(torch.tensor(words, dtype=torch.int64)).float().cpu()
        return context

    def lay(self, classes: list[str], templates: list[str], init: str, tokens: int) -> Laid:
        """The prompts of all classes, embedded, with `tokens` places after the start (see prompt_length.py)."""
        begin = self.ids(init)[1:-1]
        rows = []
        for name in classes:
            for template in templates:
                prompt = template.replace("{}", name)
                start, *rest = self.ids(prompt)
                rest = rest[replaced(begin, self.ids(opening(template))[1:-1], tokens) :]
                row = [start, *[start] * tokens, *rest]  # what stands at the places is never read
                check_length(prompt, len(row), tokens, self.context, "learned prompts")
                rows.append(row)
        length = max(map(len, rows))
        ids = torch.tensor([row + [row[-1]] * (length - len(row)) for row in rows])
        ends = torch.tensor([len(row) - 1 for row in rows])
        shape = (len(classes), len(templates))
        words = self.embed(ids)
        return Laid(words.view(*shape, length, self.width), ends.view(shape).to(words.device))

    def encode(self, laid: Laid, context: Tensor) -> Tensor:
        """Class embeddings [C, D] of unit length: the mean over templates of unit vectors; gradients to `context`."""
        features = self.features(laid.words.flatten(0, 1), laid.ends.flatten(), context)
        features = F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)
        return F.normalize(features.view(*laid.ends.shape, -1).mean(1), dim=1)

    def features(self, words: Tensor, ends: Tensor, context: Tensor) -> Tensor:
        """[P, D], from words [P, L, width], ends [P] and a context [J, M, width] for the first J layers."""
        clip, length, depth = self.clip, words.shape[1], len(context)
        x = put(words, context[0]) + clip.positional_embedding[:length]
        for layer, block in enumerate(clip.transformer.resblocks):
            if 0 < layer < depth:
                x = put(x, context[layer])
            x = block(x, attn_mask=clip.attn_mask[:length, :length])
        x = clip.ln_final(x)[torch.arange(len(x), device=x.device), ends]
        projection = clip.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection


def put(x: Tensor, vectors: Tensor) -> Tensor:
    """[P, L, width] with `vectors` [M, width] at the places 1 … M."""
    return torch.cat([x[:, :1], vectors.expand(len(x), -1, -1).to(x.dtype), x[:, 1 + len(vectors) :]], 1)

"""BERT's encoder (Devlin et al. 2019, arXiv 1810.04805) as sentence encoders use it, without the library transformers.

    h_0 = LN(word + position + type),   a = LN(h + attention(h)),   h' = LN(a + W_2 gelu(W_1 a))

Normalisation comes after each sum (post-LN). Tensors have the names of the checkpoints on Hugging Face's hub, so that a
file is loaded as it is. Nothing is drawn: weights come from a file, always.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsr.errors import ZsrError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}
LEFT_OUT = ("pooler.", "embeddings.position_ids", "cls.")  # heads of the pretraining, and a buffer that only counts


@dataclass(frozen=True)
class BertShape:
    """The keys of a config.json that say how large a BERT is."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"

    @classmethod
    def of(cls, config: dict, where: str) -> "BertShape":
        """From a config.json; anything but a plain BERT is refused."""
        kind = config.get("model_type")
        if kind != "bert":
            raise ZsrError(f"{where}: its architecture is '{kind}', zsr reads 'bert'; store its vectors (`vectors`)")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ZsrError(f"{where}: its positions are '{config['position_embedding_type']}', zsr reads 'absolute'")
        if str(config.get("hidden_act", "gelu")) not in ACTIVATIONS:
            raise ZsrError(f"{where}: its activation is '{config['hidden_act']}', zsr knows {', '.join(ACTIVATIONS)}")
        try:
            shape = cls(**{key: config[key] for key in cls.__dataclass_fields__ if key in config})
        except TypeError as error:
            raise ZsrError(f"{where}: its config lacks a size ({error})") from error
        for key, value in shape.plain().items():
            number = isinstance(value, float | int if key == "layer_norm_eps" else int) and not isinstance(value, bool)
            if key != "hidden_act" and not (number and value > 0):
                raise ZsrError(f"{where}: its config says {key}: {value!r:.40}; a number above 0 is wanted")
        if shape.hidden_size % shape.num_attention_heads:
            raise ZsrError(
                f"{where}: {shape.hidden_size} dimensions are not shared by {shape.num_attention_heads} heads"
            )
        return shape

    def plain(self) -> dict:
        """For a record."""
        return asdict(self)


class Linear(nn.Linear):
    """Begins with zeros: a third of a second of random numbers that nobody would read."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Embedding(nn.Embedding):
    """Begins with zeros."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


class Bert(nn.Module):
    """ids [P, L], mask [P, L] (True: a token, False: padding) -> last hidden states [P, L, D]."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.hidden_size
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": Embedding(shape.vocab_size, width),
                "position_embeddings": Embedding(shape.max_position_embeddings, width),
                "token_type_embeddings": Embedding(shape.type_vocab_size, width),
                "LayerNorm": nn.LayerNorm(width, shape.layer_norm_eps),
            }
        )
        self.encoder = Encoder(shape)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        parts = self.embeddings
        places = torch.arange(ids.shape[1], device=ids.device)
        first = torch.zeros_like(places)  # one sentence: every token is of type 0
        x = parts["word_embeddings"](ids) + parts["position_embeddings"](places)
        x = parts["LayerNorm"](x + parts["token_type_embeddings"](first))
        for layer in self.encoder.layer:
            x = layer(x, mask[:, None, None, :])
        return x


class Encoder(nn.Module):
    """The layers, under the name that checkpoints give them."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(shape) for _ in range(shape.num_hidden_layers))


class Attention(nn.Module):
    """The projections of an attention; checkpoints call those of query, key and value `self`."""

    def __init__(self, width: int, shape: BertShape) -> None:
        super().__init__()
        self.self = nn.ModuleDict({name: Linear(width, width) for name in ("query", "key", "value")})
        self.output = _output(width, width, shape)


class BertLayer(nn.Module):
    """Attention and feed-forward, each with its residual and the normalisation behind it."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        width, inner = shape.hidden_size, shape.intermediate_size
        self.heads, self.activation = shape.num_attention_heads, ACTIVATIONS[shape.hidden_act]
        self.attention = Attention(width, shape)
        self.intermediate = nn.ModuleDict({"dense": Linear(width, inner)})
        self.output = _output(inner, width, shape)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (self._split(self.attention.self[name](x)) for name in ("query", "key", "value"))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # [P, heads, L, D / heads]
        x = self._sum(self.attention.output, mixed.transpose(1, 2).flatten(2), x)
        return self._sum(self.output, self.activation(self.intermediate["dense"](x)), x)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    @staticmethod
    def _sum(parts: nn.ModuleDict, new: Tensor, x: Tensor) -> Tensor:
        return parts["LayerNorm"](parts["dense"](new) + x)


def _output(inputs: int, width: int, shape: BertShape) -> nn.ModuleDict:
    parts = {"dense": Linear(inputs, width), "LayerNorm": nn.LayerNorm(width, shape.layer_norm_eps)}
    return nn.ModuleDict(parts)


def tensors_of(stored: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The encoder's tensors of a checkpoint, float32: without the prefix and the heads that some have."""
    plain = {name.removeprefix("bert."): value for name, value in stored.items()}
    if len(plain) < len(stored):
        raise ZsrError(
            f"{path}: names some tensors with the prefix 'bert.' and without it; nobody knows which are meant"
        )
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in plain.items()
        if not name.startswith(LEFT_OUT)
    }

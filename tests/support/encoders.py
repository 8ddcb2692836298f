"""Small image towers, sentence encoders and projections with random weights: the parts of a dual encoder as files."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

TOWER = "test_efficientnet"  # of timm: 0.4 M parameters
WORDS = ["a", "photo", "of", "red", "green", "blue", "grey", "cat", "dog", "##s", "."]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
BERT = {
    "model_type": "bert",
    "vocab_size": len(SPECIAL + WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}


def bert_tensors(config: dict = BERT, seed: int = 0) -> dict[str, torch.Tensor]:
    """By the names of the hub's checkpoints."""
    rng = torch.Generator().manual_seed(seed)
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
    }

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    norm("embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", width, width)
        linear(f"{layer}.attention.output.dense", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", width, inner)
        linear(f"{layer}.output.dense", inner, width)
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", width, width)  # a head that no sentence encoder uses
    found = {name: 0.4 * torch.randn(shape, generator=rng) for name, shape in shapes.items()}
    return found | {"embeddings.position_ids": torch.arange(config["max_position_embeddings"])[None]}


def sentence_folder(folder: Path, pooling: str = "mean_tokens", modules: tuple = (), **changes: object) -> Path:
    """A sentence encoder in the layout of sentence-transformers."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    (folder / "1_Pooling").mkdir(parents=True)
    config = {**BERT, **changes}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    made.enable_truncation(5)  # as many files ask for; zsr never cuts
    made.save(str(folder / "tokenizer.json"))
    save_file(bert_tensors(), folder / "model.safetensors")
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"), *modules]
    listed = [
        {"idx": i, "path": path, "type": f"sentence_transformers.models.{k}"} for i, (path, k) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listed), encoding="utf-8")
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 16, **modes}), encoding="utf-8"
    )
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 10, "do_lower_case": False}), encoding="utf-8"
    )
    return folder


def image_file(path: Path, seed: int = 0) -> Path:
    """The weights of a tower of timm, its classifier among them."""
    import timm

    torch.manual_seed(seed)
    save_file(timm.create_model(TOWER).state_dict(), path)
    return path


def projection_file(path: Path, features: int, width: int = 16, seed: int = 0, **changes: object) -> Path:
    """W, b, the mean of the texts, and the temperature."""
    rng = np.random.default_rng(seed)
    found = {
        "proj_weight": rng.normal(0, 0.1, (width, features)).astype(np.float32),
        "proj_bias": rng.normal(0, 0.1, width).astype(np.float32),
        "text_mean": rng.normal(0, 0.1, width).astype(np.float32),
        "logit_scale": np.float32(20.0),
    }
    np.savez(path, **{key: value for key, value in {**found, **changes}.items() if value is not None})
    return path

"""Bad files of sentence encoders: the mistake is one line that names the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support import encoders
from support.bad_bytes import HTML
from support.bad_weights import GOOD, KINDS, safe_file
from support.project import refused
from torch import Tensor

from zsr.models import dual_parts, sentence_encoder


def configured(**changes: object) -> bytes:
    return json.dumps({**encoders.BERT, **changes}).encode()


def module(**changes: object) -> dict:
    return {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling", **changes}


TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
ENCODERS: dict[str, tuple[str, bytes, str]] = {
    "config page": ("config.json", HTML, r"config\.json: not JSON.*web page"),
    "config empty": ("config.json", b"", r"config\.json: not JSON.*it is empty"),
    "config list": ("config.json", b"[]", r"config\.json: not JSON.*a dict is wanted"),
    "config bytes": ("config.json", b"\xff\xfe\xfd", r"config\.json: not JSON"),
    "width a text": ("config.json", configured(hidden_size="16"), "hidden_size: '16'; a number above 0 is wanted"),
    "no heads": ("config.json", configured(num_attention_heads=0), "num_attention_heads: 0; a number above 0"),
    "width none": ("config.json", configured(hidden_size=None), "hidden_size: None; a number"),
    "layers true": ("config.json", configured(num_hidden_layers=True), "num_hidden_layers: True; a number"),
    "eps a text": ("config.json", configured(layer_norm_eps="1e-12"), "layer_norm_eps: '1e-12'; a number"),
    "activation list": ("config.json", configured(hidden_act=["gelu"]), "its activation is"),
    "no size": ("config.json", json.dumps({"model_type": "bert"}).encode(), "its config lacks a size"),
    "other width": ("config.json", configured(hidden_size=32), "a checkpoint of another architecture"),
    "tokenizer page": ("tokenizer.json", HTML, r"tokenizer\.json: not a tokenizer.*web page"),
    "tokenizer empty": ("tokenizer.json", b"", r"tokenizer\.json: not a tokenizer.*it is empty"),
    "tokenizer other": ("tokenizer.json", b"{}", r"tokenizer\.json: not a tokenizer"),
    "tokenizer bytes": ("tokenizer.json", b"\xff", r"tokenizer\.json: not a tokenizer"),
    "weights page": ("model.safetensors", HTML, r"model\.safetensors: not a safetensors file.*web page"),
    "weights cut": ("model.safetensors", GOOD[:-4], r"model\.safetensors: not a safetensors file"),
    "weights other": ("model.safetensors", GOOD, "a checkpoint of another architecture"),
    "modules page": ("modules.json", HTML, r"modules\.json: not JSON.*web page"),
    "modules dict": ("modules.json", b"{}", r"modules\.json: not JSON.*a list is wanted"),
    "modules numbers": ("modules.json", b"[1, 2]", r"modules\.json is no list of modules"),
    "modules one": ("modules.json", json.dumps([TRANSFORMER]).encode(), "a chain of Transformer; zsr reads"),
    "modules no path": ("modules.json", json.dumps([TRANSFORMER, module(path=None)]).encode(), "does not say where"),
    "pooling page": ("1_Pooling/config.json", HTML, r"config\.json: not JSON.*web page"),
    "pooling none": ("1_Pooling/config.json", b"{}", "pools by nothing"),
    "length list": ("sentence_bert_config.json", b"[]", r"sentence_bert_config\.json: not JSON.*a dict is wanted"),
    "length text": ("sentence_bert_config.json", b'{"max_seq_length": "9"}', "max_seq_length is '9'"),
}


def bert_with(name: str, change: Callable[[Tensor], Tensor]) -> bytes:
    tensors = encoders.bert_tensors()
    return safe_file({**tensors, name: change(tensors[name])})


WORD = "embeddings.word_embeddings.weight"
ENCODERS |= {
    f"weights {what}": ("model.safetensors", bert_with(WORD, KINDS[what][0]), KINDS[what][1])
    for what in ("int8", "bool", "complex", "float8", "1e300", "nan")
}
ENCODERS["weights twice"] = (
    "model.safetensors",
    safe_file({**encoders.bert_tensors(), f"bert.{WORD}": torch.zeros(2)}),
    "with the prefix 'bert.' and without it",
)


def tower_of(folder: Path) -> sentence_encoder.SentenceTower:
    """As the rule `join` reads and fills it."""
    about, tensors = sentence_encoder.read(lambda name: folder / name, str(folder))
    tower = sentence_encoder.SentenceTower(about)
    dual_parts.fill(tower, tensors, folder, whole=True)
    for name, value in tower.state_dict().items():
        dual_parts.tensor_file.check_finite(name, value, folder)
    return tower


@pytest.mark.parametrize("what", ENCODERS)
def test_a_bad_sentence_encoder(what: str, encoder: Path, tmp_path: Path):
    name, content, message = ENCODERS[what]
    folder = shutil.copytree(encoder, tmp_path / "text")
    (folder / name).write_bytes(content)
    with refused(message) as caught:
        tower_of(folder)
    assert str(folder) in str(caught.value)


def test_a_tokenizer_of_another_model(encoder: Path, tmp_path: Path):
    """It is met where its words are asked; a sentence encoder may name more words than it ever gives."""
    folder = shutil.copytree(encoder, tmp_path / "text")
    about = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    about["model"]["vocab"]["cat"] = 99
    (folder / "tokenizer.json").write_text(json.dumps(about), encoding="utf-8")
    tower = tower_of(folder)
    assert tower.tokenize(["a red dog"])
    with refused("prompt 'cat': the tokenizer gives the id 99, the text tower knows"):
        tower.tokenize(["cat"])

"""Bad configs and tokenizers of the hub: the mistake is one line that names the file."""

import json
from pathlib import Path

import pytest
from support.bad_bytes import HTML
from support.hub_models import TINY, in_cache
from support.project import refused

from zsr.models import hub, tokenizers
from zsr.models.fetch import hub_definition

HUB = {
    "page": (HTML, "not a config in open_clip's format.*web page"),
    "empty": (b"", "not a config in open_clip's format.*it is empty"),
    "list": (b"[]", "not a config in open_clip's format"),
    "no model": (b"{}", "not a config in open_clip's format"),
    "model a text": (b'{"model_cfg": "ViT"}', "not a config in open_clip's format"),
    "pixels none": (b'{"model_cfg": {}, "preprocess_cfg": null}', "not a config in open_clip's format"),
    "no towers": (b'{"model_cfg": {}}', "not a CLIP, its config has no"),
    "tower a text": (
        json.dumps({"model_cfg": {**TINY, "text_cfg": "clip"}}).encode(),
        "text_cfg: 'clip'; a mapping is wanted",
    ),
    "mean": (
        json.dumps({"model_cfg": TINY, "preprocess_cfg": {"mean": 0.5}}).encode(),
        "says mean: 0.5; three numbers from 0 are wanted",
    ),
    "std": (
        json.dumps({"model_cfg": TINY, "preprocess_cfg": {"std": ["a", "b", "c"]}}).encode(),
        "says std: .*; three numbers from 0 are wanted",
    ),
}


@pytest.mark.parametrize("what", HUB)
def test_a_bad_config_of_the_hub(what: str, cache: Path):
    content, message = HUB[what]
    in_cache(cache, "org/model", {hub.CONFIG: content})
    with refused(message):
        hub_definition({"hub": "org/model", "file": ""})


TOKENIZERS = {
    "page": ({"tokenizer.json": HTML}, r"tokenizer\.json: not a tokenizer.*web page"),
    "empty": ({"tokenizer.json": b""}, r"tokenizer\.json: not a tokenizer.*it is empty"),
    "other": ({"tokenizer.json": b"{}"}, r"tokenizer\.json: not a tokenizer"),
    "about page": ({"tokenizer_config.json": HTML}, r"tokenizer_config\.json: not a mapping in JSON.*web page"),
    "about list": ({"tokenizer_config.json": b"[1]"}, r"tokenizer_config\.json: not a mapping in JSON"),
}


@pytest.mark.parametrize("what", TOKENIZERS)
def test_a_bad_tokenizer_of_the_hub(what: str, cache: Path, encoder: Path):
    changes, message = TOKENIZERS[what]
    files = {"tokenizer.json": (encoder / "tokenizer.json").read_bytes(), "tokenizer_config.json": b"{}"}
    in_cache(cache, f"org/{what.replace(' ', '-')}", files | changes)
    with refused(message):
        tokenizers.make({"kind": "hf", "name": f"org/{what.replace(' ', '-')}"}, context=5)(["a"])

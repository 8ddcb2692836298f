"""Every key of a config with every kind of nonsense: one line, or a plan; never a traceback."""

import copy
import math
import random
from collections.abc import Callable, Iterator

import pytest
import yaml

from zsr.config.complete import complete
from zsr.config.schema import SCHEMA
from zsr.errors import ZsrError
from zsr.plan.plan import Plan

STEP = 6  # each place gets every sixth of the values
MOST = 2000  # characters of a message
PLANNED = 30
SHA = "0" * 64
CYCLE: list = []
CYCLE.append(CYCLE)
NASTY = {
    "null": None, "true": True, "false": False, "zero": 0, "minus": -1, "huge": 10**30, "whole-float": 24.0,
    "half": 0.5, "minus-half": -0.5, "inf": math.inf, "nan": math.nan, "tiny": 1e-300, "empty": "", "blank": " ",
    "divided": "1/0", "text-number": "1e-3", "huge-text": "1e999", "lines": "a\nb", "alike": "tеcoa", "path": "../up",
    "dots": "..", "nul": "a\x00b", "half-pair": "\ud800", "braces": "{}", "unset": "$NO_SUCH_ONE", "long": "a" * 300,
    "list": [], "of-null": [None], "of-lists": [[1]], "of-mappings": [{}], "twice": ["a", "a"], "mixed": [1, "a", None],
    "mapping": {}, "keys": {1: 2, "a": 3}, "deep": {"a": {"b": {"c": [1]}}}, "cycle": CYCLE, "bytes": b"a", "set": {1},
}  # fmt: skip

DATA = [
    {"name": "mini-captions", "like": "drawn-captions", "splits": {"train": 512}},
    {"name": "mini-source", "like": "drawn-source", "splits": {"train": 256, "test": 64},
     "options": {"view": "shape", "contrast": [0.3, 0.7], "noise": 4, "captions": 0, "seed": 3}},
    {"name": "own", "reader": "parquet",
     "options": {"path": "{split}.parquet", "image": "i", "label": "l", "caption": ""},
     "splits": {"train": 300, "test": 100}, "size": "varied", "classes": ["circle", "square", "triangle"],
     "keys": ["0", "1", "2"], "half": "all", "templates": ["a photo of a {}"], "transforms": {"tecoa": "224"},
     "encoded": ["train"], "folder": "own",
     "files": [{"path": "a.parquet", "urls": ["https://x"], "md5": "0" * 32, "sha256": SHA, "bytes": 3,
                "unpacked": ["a"], "splits": ["train"]}],
     "missing": "ask", "labelled": True, "source": "s", "licence": "l", "about": "a"},
    {"name": "tars", "reader": "webdataset", "options": {"shards": "a/*.tar", "image": ["jpg"], "label": "cls"},
     "splits": {"test": 10}, "classes": ["circle", "square"], "size": 32},
]  # fmt: skip
RECIPE = {"dataset": "mini-source", "split": "train", "transform": "native", "epochs": 1, "images": 0, "shots": 0,
          "batch": 64, "optimizer": "adamw", "lr": 0.001, "momentum": 0.9, "weight_decay": 0.0, "warmup": 3,
          "clip": 0.0, "batchnorm": "train", "amp": "off", "attack_steps": 2, "attack_alpha": 1.0,
          "processes": 1}  # fmt: skip
PRETRAIN = {"dataset": "mini-captions", "split": "train", "steps": 10, "batch": 64, "lr": 0.002, "beta2": 0.98,
            "weight_decay": 0.05, "warmup": 3, "clip": 1.0, "largest_scale": 50.0}  # fmt: skip
BACKBONES = [
    {"name": "vit", "arch": "drawn-vit", "pretrain": PRETRAIN},
    {"name": "pupil", "arch": "drawn-vit",
     "pretrain": {**PRETRAIN, "teacher": "vit", "texts": ["drawn-colour"], "weight": 1.0, "text_batch": 64}},
    {"name": "tagged", "open_clip": "ViT-B-32-quickgelu", "pretrained": "openai"},
    {"name": "filed", "open_clip": "ViT-B-32", "weights": "$HOME/w.safetensors", "sha256": SHA},
    {"name": "hub", "open_clip": "hf-hub:org/model", "revision": "main", "quick_gelu": True},
    {"name": "dual", "dual": {
        "image": {"timm": "vit_tiny_patch16_224", "settings": {"img_size": 64}, "weights": "w", "sha256": SHA,
                  "size": 64, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic"},
        "text": {"sentence": "./encoder", "sha256": SHA},
        "projection": {"learn": {"dataset": "mini-captions", "split": "train", "transform": "native", "steps": 10,
                                 "batch": 64, "scale": 14.3}}}},
    {"name": "stored", "dual": {
        "image": {"timm": "vit_tiny_patch16_224", "hub": "org/tower", "revision": "main", "size": 64,
                  "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "text": {"vectors": "v.parquet", "sha256": SHA}, "projection": {"weights": "p.npz", "sha256": SHA}}},
]  # fmt: skip
MODELS = [
    {"name": "clip", "method": "clip"},
    {"name": "tecoa", "method": "tecoa", "backbones": ["vit"], "eps": "4/255", "seeds": [0, 1], "recipe": RECIPE},
    {"name": "mix", "interpolate": {"from": "clip", "to": "tecoa", "alpha": [0.5]}, "backbones": ["vit"]},
    {"name": "dual", "method": "dual-teacher", "teacher": "tecoa", "backbones": ["vit"], "settings": {"alpha": 1}},
    {"name": "apt", "method": "apt", "start": "tecoa", "backbones": ["vit"],
     "settings": {"tokens": 2, "init": "", "template": "{}", "perturb": "current"}},
    {"name": "fap", "method": "fap", "backbones": ["vit"], "settings": {"depth": 1, "weight": 1.5, "tokens": 2}},
    {"name": "given", "method": "published", "backbones": ["filed"],
     "settings": {"hub": "org/model", "revision": "main", "eps": "2/255", "trained_on": "imagenet"}},
    {"name": "table", "method": "published", "backbones": ["filed"],
     "settings": {"weights": "w", "sha256": SHA, "eps": "2/255", "trained_on": "imagenet"}},
    {"name": "probe", "method": "linear-probe", "backbones": ["vit"], "settings": {"classes": 0}},
    {"name": "partial", "method": "tecoa-partial", "backbones": ["vit"], "settings": {"tensors": 5, "block": False}},
    {"name": "agft", "method": "agft", "backbones": ["vit"], "recipe": {"images": 64}},
]  # fmt: skip
PROTOCOL = {
    "name": "mini", "about": "a", "source": "s", "datasets": ["drawn-colour", "mini-source"], "split": "test",
    "transform": "native", "eps": ["1/255", 0.01], "norm": "linf", "images": 48, "shards": 2, "verdict": "any",
    "precision": "fp32", "batch": 48, "worst_case": True, "chain_eps": True, "store": 4,
    "attacks": [
        {"name": "pgd", "attack": "pgd", "steps": 2, "step_size": "eps/4", "momentum": 0.0, "restarts": 1,
         "random_start": True, "share": 0.05, "eot": 1, "verdict": "last"},
        {"name": "cw", "attack": "cw", "kappa": 50, "after": "pgd"},
        {"name": "far", "attack": "transfer", "surrogate": "clip"},
        {"name": "square", "attack": "square", "queries": 10, "p_init": 0.8},
        {"name": "fab", "attack": "fab-t", "alpha_max": 0.1, "eta": 1.05, "beta": 0.9, "targets": 3},
        {"name": "written", "attack": "autoattack-reference", "version": "standard", "only": "apgd-ce"},
    ],
}  # fmt: skip
WIDE = {
    "results": "results", "device": "cpu", "threads": 1, "cells_per_gpu": 1, "seed": 0, "kernels": "auto",
    "data_root": "datasets", "download": False, "decoded_gigabytes": 100, "data": DATA, "backbones": BACKBONES,
    "finetune": {**RECIPE, "eps": "4/255"}, "models": MODELS, "report": {"title": "t"},
    "protocols": [PROTOCOL, {"name": "ready", "like": "zsr", "datasets": ["own"], "transform": "224", "images": 10},
                  {"name": "tars", "like": "tecoa", "datasets": ["tars"], "images": 5, "shards": "auto"}],
}  # fmt: skip


def paths(value: object, above: tuple = ()) -> Iterator[tuple]:
    """Every place of a config, from the outside in."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*above, key)
        yield from paths(part, (*above, key))


def changed(config: dict, path: tuple, value: object) -> dict:
    """A copy of the config with another value at one place; what is not on the way is shared."""
    found = place = copy.copy(config)
    for key in path[:-1]:
        place[key] = copy.copy(place[key])
        place = place[key]
    place[path[-1]] = value
    return found


def without(config: dict, path: tuple) -> dict:
    """A copy of the config in which one key or entry is missing."""
    parent = at(config, path[:-1])
    if isinstance(parent, list):
        left = [part for i, part in enumerate(parent) if i != path[-1]]
    else:
        left = {key: part for key, part in parent.items() if key != path[-1]}
    return changed(config, path[:-1], left) if len(path) > 1 else left


def at(config: dict, path: tuple) -> object:
    for key in path:
        config = config[key]
    return config


def mutations() -> Iterator[tuple[str, dict]]:
    """Each place with some of the values, in turn, so that neighbours get others; then without it, or with more."""
    names = sorted(NASTY)
    for number, path in enumerate(paths(WIDE)):
        place = ".".join(map(str, path))
        for name in names[number % STEP :: STEP]:
            yield f"{place} = {name}", changed(WIDE, path, NASTY[name])
        yield f"{place} is gone", without(WIDE, path)
        if isinstance(at(WIDE, path), dict):
            yield f"{place} has more", changed(WIDE, path, {**at(WIDE, path), "nonsense": 1})


def answer(make: Callable[[dict], object], raw: dict) -> str:
    """`taken`, `refused` in one line that can be read, or what is wrong with the answer."""
    try:
        make(raw)
    except ZsrError as error:
        line = str(error)
        readable = len(line.splitlines()) == 1 and len(line) < MOST
        return "refused" if readable else f"{len(line)} characters: {line[:200]}"
    except Exception as error:
        return repr(error)
    return "taken"


def test_the_config_that_is_changed_is_right():
    assert Plan(WIDE).cells


@pytest.mark.slow
def test_nonsense_at_every_key_is_one_line_or_a_plan():
    """Some of those that the checks of the config take are planned too."""
    answers = [(name, raw, answer(complete, raw)) for name, raw in mutations()]
    taken = [(name, raw) for name, raw, found in answers if found == "taken"]
    sample = random.Random(0).sample(taken, PLANNED)
    answers += [(f"the plan of {name}", raw, answer(Plan, raw)) for name, raw in sample]
    assert [f"{name}: {found}" for name, _, found in answers if found not in ("taken", "refused")] == []


def test_every_key_of_the_schema_is_tried():
    """A key that is added to the schema must be added here."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    tried = {tuple(key for key in path if isinstance(key, str)) for path in paths(WIDE)}
    assert keys_of(schema) - tried <= {("data", "names"), ("backbones", "dual", "text", "revision")}


def keys_of(schema: dict, above: tuple = ()) -> set[tuple]:
    """Every key of the schema, without the numbers of lists."""
    found = set()
    for key, part in schema.get("properties", {}).items():
        inner = part.get("items", part) if part.get("type") == "array" else part
        found |= {(*above, key)} | keys_of(inner, (*above, key))
    return found

"""The paths of all results relative to the results folder, as patterns.

The rules use the patterns with their wildcards, and the plan fills them in. Files are found through the plan, never by
a search of the folder.
"""

DATA = "data/{dataset}/{split}/{transform}"
BACKBONE = "backbones/{backbone}"
TOWER = "backbones/{tower}"  # of a model that others start from: ids of models have a dot, names of backbones have none
HEAD = "heads/{tower}/{dataset}"
TEXTS = "heads/{model}/{dataset}"  # a model's own
MODEL = "models/{model}"
CELL = "eval/{protocol}/{model}/{dataset}/{attack}/eps-{eps}"
TABLES = "tables"
FIGURES = "figures"
SHARD = CELL + ".shards/{shard}"
GALLERY = "gallery"
REPORT = "report.html"


def _training(folder: str) -> dict[str, str]:
    """The outputs of a job that makes a model or a backbone."""
    return {
        "weights": folder + "/weights.safetensors",
        "log": folder + "/train.jsonl",
        "record": folder + "/manifest.json",
    }


def _cell(path: str) -> dict[str, str]:
    """The outputs of a job that makes a cell, or a part of one."""
    return {"rows": path + ".parquet", "examples": path + ".examples", "record": path + ".json"}


# output name -> file, per kind of job; `record` is the JSON file that carries the spec
OUTPUTS = {
    "prepare": {
        "images": DATA + "/images.npy",
        "labels": DATA + "/labels.npy",
        "captions": DATA + "/captions.json",
        "record": DATA + "/manifest.json",
    },
    "pretrain": _training(BACKBONE),
    "join": _training(BACKBONE),
    "fetch": {"weights": BACKBONE + "/weights.safetensors", "record": BACKBONE + "/manifest.json"},
    "promote": {"weights": TOWER + "/weights.safetensors", "record": TOWER + "/manifest.json"},
    "heads": {"head": HEAD + ".safetensors", "record": HEAD + ".json"},
    "texts": {"head": TEXTS + ".safetensors", "record": TEXTS + ".json"},
    "finetune": _training(MODEL),
    "adopt": _training(MODEL),
    "publish": _training(MODEL),
    "interpolate": _training(MODEL),
    "evaluate": _cell(CELL),
    "shard": _cell(SHARD),
    "merge": _cell(CELL),
    "tables": {
        "cells": TABLES + "/cells.csv",
        "sets": TABLES + "/sets.csv",
        "methods": TABLES + "/methods.csv",
        "paired": TABLES + "/paired.csv",
        "fooled": TABLES + "/fooled.csv",
        "training": TABLES + "/training.csv",
        "alarms": TABLES + "/alarms.csv",
        "record": TABLES + "/manifest.json",
    },
    "figures": {"charts": FIGURES + "/charts.json", "record": FIGURES + "/manifest.json"},
    "gallery": {
        "entries": GALLERY + "/entries.json",
        "pictures": GALLERY + "/pictures.npz",
        "record": GALLERY + "/manifest.json",
    },
    "report": {"page": REPORT, "record": "report.json"},
}


def about(kind: str, rule: str) -> str:
    """The path of a log or a benchmark, by rule and wildcards: `logs/evaluate/eval/…/eps-2_255.log`."""
    pattern = OUTPUTS[rule]["record"].removesuffix(".json").removesuffix("/manifest")
    return f"{kind}/{rule}/{pattern}.{'log' if kind == 'logs' else 'tsv'}"

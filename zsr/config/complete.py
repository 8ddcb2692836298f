"""From the text of a config to a complete, checked one: defaults filled in, every mistake one line with its cure.

The JSON schema (workflow/schemas/config.schema.yaml) knows the shape; the names and settings of methods, attacks and
readers are known from their files (`zsr.registry`), recipes from their dataclasses. Nothing here imports torch.
"""

from zsr.config.backbones import complete_backbones
from zsr.config.datasets import datasets_used, definition
from zsr.config.entries import Config, Written
from zsr.config.finetune import complete_finetune
from zsr.config.models import check_readouts, complete_models
from zsr.config.protocols import complete_protocols, with_ready_made
from zsr.config.schema import check_schema
from zsr.config.values import plain_copy, refuse_twice
from zsr.storage.results_folder import results_folder


def complete(raw: Written) -> Config:
    """Check a config and fill in every default; the argument is left as it is."""
    written = check_schema(with_ready_made(plain_copy(raw)))
    results = results_folder(written["results"])
    _check_unique(written)
    datasets = {name: definition(written["data"], name, where) for name, where in datasets_used(written).items()}
    backbones = complete_backbones(written["backbones"], datasets)
    finetune = complete_finetune(written["finetune"], datasets)
    models = complete_models(written["models"], datasets, backbones, finetune, written["seed"])
    protocols = complete_protocols(written["protocols"], datasets, models)
    check_readouts(models, protocols, datasets)
    kept = ("device", "threads", "cells_per_gpu", "seed", "kernels", "data_root", "download", "decoded_gigabytes")
    return Config(
        results=results,
        title=written["report"]["title"],
        datasets=datasets,
        backbones=backbones,
        finetune=finetune,
        models=models,
        protocols=protocols,
        **{key: written[key] for key in kept},
    )


def _check_unique(written: Written) -> None:
    lists = [(key, written[key]) for key in ("backbones", "models", "data", "protocols")]
    lists += [(f"protocols '{protocol['name']}' attacks", protocol["attacks"]) for protocol in written["protocols"]]
    for where, entries in lists:
        refuse_twice([entry["name"] for entry in entries], where)

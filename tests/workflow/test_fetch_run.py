"""Fetched backbones through the whole pipeline: a hub cache, a local file, published weights, images of any size."""

import json
import os

import torch
from safetensors.torch import load_file, save_file
from support.hub_models import RESNET, TINY, in_cache, tiny

from zsr.hashing import file_digest

CONFIG = {
    "data": [{"name": "mini-source", "like": "drawn-source", "splits": {"train": 64, "test": 64}}],
    "backbones": [
        {"name": "vit", "open_clip": "hf-hub:org/tiny-vit"},
        {"name": "rn", "open_clip": "hf-hub:org/tiny-rn", "quick_gelu": False},
    ],
    "finetune": {"dataset": "mini-source", "eps": "1/255", "epochs": 1, "batch": 32, "lr": 0.01, "warmup": 1},
    "models": [
        {"name": "clip", "method": "clip"},
        {"name": "tga", "method": "tga-zsr", "backbones": ["vit"]},
        {"name": "tecoa", "method": "tecoa", "backbones": ["rn"]},
    ],
    "protocols": [
        {
            "name": "tiny",
            "datasets": ["drawn-shape"],
            "attacks": [{"name": "pgd", "attack": "pgd", "steps": 2}],
            "eps": ["1/255"],
            "images": 32,
        }
    ],
}


def test_the_whole_pipeline(project, tmp_path):
    cache = tmp_path / "hub"
    pixels = {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear"}}
    for name, config in (("vit", TINY | {"vision_cfg": TINY["vision_cfg"] | {"image_size": 48}}), ("rn", RESNET)):
        save_file({n: v.contiguous() for n, v in tiny(config).state_dict().items()}, tmp_path / "w")
        files = {"open_clip_config.json": json.dumps({"model_cfg": config, **pixels}).encode()}
        in_cache(cache, f"org/tiny-{name}", files | {"open_clip_model.safetensors": (tmp_path / "w").read_bytes()})
    robust = {
        name: value * 1.5 for name, value in tiny(RESNET).visual.state_dict().items() if value.is_floating_point()
    }
    robust |= {n: v for n, v in tiny(RESNET).visual.state_dict().items() if not v.is_floating_point()}
    torch.save({"vision_encoder_state_dict": robust}, tmp_path / "robust.pt")
    settings = {"weights": str(tmp_path / "robust.pt"), "sha256": file_digest(tmp_path / "robust.pt")}
    settings |= {"eps": "4/255", "trained_on": "imagenet"}
    published = {"name": "theirs", "method": "published", "settings": settings, "backbones": ["rn"]}
    project.configure(CONFIG | {"models": [*CONFIG["models"], published]})

    env = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "nowhere")}
    text = project.snakemake(code=1, env=env)
    assert f"{tmp_path}/nowhere/models--org--tiny-vit and the hub cannot be reached" in text

    env["HF_HUB_CACHE"] = str(cache)
    project.snakemake(env=env)
    record = json.loads(project.path("results/backbones/vit/manifest.json").read_text(encoding="utf-8"))
    assert record["definition"]["mean"] == [0.5] * 3 and record["definition"]["interpolation"] == "bilinear"
    laid = load_file(project.path("results/models/rn.theirs/weights.safetensors"))
    assert laid and all(torch.equal(value, robust[name]) for name, value in laid.items())
    for model in ("vit.clip", "vit.tga.s0", "rn.clip", "rn.tecoa.s0", "rn.theirs"):
        cell = json.loads(
            project.path(f"results/eval/tiny/{model}/drawn-shape/pgd/eps-1_255.json").read_text(encoding="utf-8")
        )
        assert cell["n"] == 32 and cell["robust_correct"] <= cell["clean_correct"]
    assert "Nothing to be done" in project.snakemake(env=env)
    os.rename(tmp_path / "robust.pt", tmp_path / "moved.pt")  # what is made stays, without its origin
    assert "Nothing to be done" in project.snakemake(env=env)

"""Small models of open_clip with random weights."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from zsr.hashing import file_digest
from zsr.models import catalogue

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
RESNET = TINY | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32}}


def tiny(config: dict = TINY, seed: int = 0) -> torch.nn.Module:
    """A CLIP with random weights, as open_clip itself makes it."""
    torch.manual_seed(seed)
    config = json.loads(json.dumps(config))
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    return kind(**config).eval()


def definition(config: dict = TINY) -> dict:
    return catalogue.definition(config, {}, "here")


def in_cache(cache: Path, repository: str, files: dict[str, bytes]) -> None:
    """Files as the hub's cache has them."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    for name, data in files.items():
        (snapshot / name).write_bytes(data)


def saved(folder: Path, tensors: dict, about: dict) -> tuple[Path, dict]:
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    return path, {"definition": about, "digests": {"weights": file_digest(path)}}

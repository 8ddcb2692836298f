"""Fixtures for tests of models."""

from pathlib import Path

import pytest
import torch
from support.dual_encoder import PLANNED
from support.encoders import image_file, projection_file, sentence_folder

from zsr.models import dual_parts


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_folder(tmp_path_factory.mktemp("encoder") / "text")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The three parts, each in its file."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("parts")
    image = image_file(folder / "tower.safetensors")
    text = sentence_folder(folder / "text")
    features = dual_parts.whole(PLANNED, {"form": "vectors", "width": 16})["vision_cfg"]["features"]
    return {"image": image, "text": text, "projection": projection_file(folder / "projection.npz", features)}

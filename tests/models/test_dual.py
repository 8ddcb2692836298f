"""Dual encoders from parts: the text tower against its formulas, files that move, and each mistake in one line."""

import copy
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from scipy.special import erf
from support import encoders
from support.dual_encoder import PLANNED, joined
from support.encoders import projection_file, sentence_folder
from support.project import assert_runs, refused

from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.models import dual_parts, sentence_encoder, text_vectors
from zsr.models.backbone import load_backbone, save_tensors
from zsr.models.dual_files import finder

# -- the text tower ---------------------------------------------------------------------------------------------------


def bert_by_hand(tensors: dict, ids: list[int], heads: int = 4) -> np.ndarray:
    """Last hidden states [L, D] of one sentence without padding, in float64, from the paper's formulas."""
    t = {name: value.double().numpy() for name, value in tensors.items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(1, keepdims=True)
        return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-12) * t[f"{name}.weight"] + t[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    x = t["embeddings.word_embeddings.weight"][ids] + t["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + t["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for i in range(2):
        layer = f"encoder.layer.{i}"
        q, k, v = (
            linear(x, f"{layer}.attention.self.{part}").reshape(len(ids), heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2]))
        mixed = (scores / scores.sum(2, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + linear(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        inner = linear(x, f"{layer}.intermediate.dense")
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_the_text_tower_computes_berts_formulas(tmp_path, pooling):
    about, tensors = sentence_encoder.read(finder(sentence_folder(tmp_path / "text", pooling)), "text")
    tower = sentence_encoder.SentenceTower(about).eval()
    tower.load_state_dict(tensors)
    prompts = ["a photo of a red cat.", "dogs"]  # of different lengths: the shorter one is padded
    rows = tower.tokenize(prompts)
    assert rows[0][:3] == [2, 4, 5] and rows[1] == [2, 12, 13, 3, 0, 0, 0, 0, 0]
    with torch.no_grad():
        found = tower(torch.tensor(rows)).numpy()
    for row, vector in zip(rows, found, strict=True):
        states = bert_by_hand(encoders.bert_tensors(), [i for i in row if i])
        wanted = states.mean(0) if pooling == "mean_tokens" else states[0]
        assert np.abs(vector - wanted).max() < 2e-6


def test_a_prompt_is_never_cut(files):
    made, _ = joined(files)
    with pytest.raises(ZsrError, match=r"prompt 'a a a a a a a a a': 11 tokens, the text tower takes 10; shorten it"):
        made.tokens(["a a a a a a a a a"])


REFUSED = {
    "architecture": ({"model_type": "mpnet"}, "its architecture is 'mpnet', zsr reads 'bert'; store its vectors"),
    "positions": ({"position_embedding_type": "relative_key"}, "its positions are 'relative_key'"),
    "activation": ({"hidden_act": "swish"}, "its activation is 'swish'"),
    "heads": ({"num_attention_heads": 3}, "16 dimensions are not shared by 3 heads"),
    "pooling": ({"pooling": "max_tokens"}, "pools by pooling_mode_max_tokens; zsr knows"),
    "dense": ({"modules": (("3_Dense", "Dense"),)}, "a chain of Transformer, Pooling, Normalize, Dense; zsr reads"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_another_sentence_encoder_is_refused_in_one_line(tmp_path, what):
    changes, message = REFUSED[what]
    with refused(message):
        sentence_encoder.read(finder(sentence_folder(tmp_path / "text", **changes)), "text")


# -- stored vectors ---------------------------------------------------------------------------------------------------

TEXTS = ["a photo of a cat", "a photo of a dog"]


def stored(path: Path, texts: list[str] = TEXTS, found: torch.Tensor | None = None) -> Path:
    """A file of vectors in either form."""
    found = torch.arange(1.0, 1 + 3 * len(texts)).view(len(texts), 3) if found is None else found
    if path.suffix == ".parquet":
        pd.DataFrame({"text": texts, "vector": found.tolist()}).to_parquet(path)
    else:
        save_file({"vectors": found}, path, metadata={"texts": json.dumps(texts)})
    return path


@pytest.mark.parametrize("name", ["v.parquet", "v.safetensors"])
def test_stored_vectors_answer_for_their_texts_and_no_others(tmp_path, name):
    about, tensors = text_vectors.read(stored(tmp_path / name))
    module = text_vectors.StoredTexts(about)
    module.load_state_dict(tensors)
    assert module(torch.tensor(module.tokenize(TEXTS[::-1]))).tolist() == [[4, 5, 6], [1, 2, 3]]
    with pytest.raises(ZsrError, match="prompt 'a photo of a fox': no vector of it is stored; add it"):
        module.tokenize(["a photo of a cat", "a photo of a fox"])


@pytest.mark.parametrize("name", ["v.parquet", "v.safetensors"])
def test_bad_vectors_are_refused(tmp_path, name):
    with pytest.raises(ZsrError, match="1 texts stand twice"):
        text_vectors.read(stored(tmp_path / name, ["a", "a"]))
    with pytest.raises(ZsrError, match="the vector of 'b' holds values that are not finite"):
        text_vectors.read(stored(tmp_path / name, ["a", "b"], torch.tensor([[1.0], [math.inf]])))
    (tmp_path / name).write_bytes(b"no vectors")
    with pytest.raises(ZsrError, match="not a"):
        text_vectors.read(tmp_path / name)


# -- the whole --------------------------------------------------------------------------------------------------------


def test_it_is_timms_tower_and_a_linear_map(files):
    import timm

    made, definition = joined(files)
    theirs = timm.create_model(encoders.TOWER, num_classes=0).eval()
    theirs.load_state_dict({k: v for k, v in load_file(files["image"]).items() if not k.startswith("classifier")})
    found = dual_parts.projection(files["projection"])
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        wanted = theirs(images) @ torch.from_numpy(found["proj_weight"]).T + torch.from_numpy(found["proj_bias"])
        assert torch.allclose(made.visual(images), wanted, atol=1e-5)
        text = F.normalize(made.clip.text(made.tokens(TEXTS)), dim=1) - torch.from_numpy(found["text_mean"])
        assert torch.equal(made.encode_text(TEXTS), text)
        assert made.visual(torch.randn(1, 3, 20, 48)).shape == (1, 16)  # of any size: resized inside
    assert made.logit_scale == pytest.approx(20.0) and definition["vision_cfg"]["file"] == "efficientnet"


def test_saved_and_loaded_it_needs_none_of_its_parts(files, tmp_path):
    mine = {key: Path(shutil.copytree(path, tmp_path / key) if path.is_dir() else shutil.copy(path, tmp_path))
            for key, path in files.items()}  # fmt: skip
    made, definition = joined(mine)
    images, prompts = torch.randn(2, 3, 32, 32), ["a photo of a red dog", "cats"]
    same = copy.deepcopy(made.clip).requires_grad_(False)
    with torch.no_grad():
        before = same.visual(images), same.encode_text(made.tokens(prompts))
    path = tmp_path / "weights.safetensors"
    save_file(save_tensors(made), path)
    shutil.rmtree(mine["text"])
    mine["image"].unlink()
    definition = json.loads(json.dumps(definition))  # as a record gives it back
    loaded = load_backbone(path, {"definition": definition, "digests": {"weights": file_digest(path)}})
    assert torch.equal(loaded.visual(images), before[0]) and torch.equal(loaded.encode_text(prompts), before[1])
    assert not loaded.visual.training and not any(p.requires_grad for p in loaded.clip.parameters())


def test_every_parameter_of_the_tower_learns(files):
    made, _ = joined(files)
    made.visual(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None for p in made.visual.parameters())
    assert made.visual.output_dim == 16


def test_a_projection_that_does_not_fit_is_refused(files, tmp_path):
    made, definition = joined(files)
    features = definition["vision_cfg"]["features"]
    path = tmp_path / "p.npz"
    for changes, message in (
        ({"text_mean": None}, "has no array 'text_mean'"),
        ({"proj_bias": np.zeros(3, np.float32)}, r"'proj_bias' is \[3\], tower and text ask for \[16\]"),
        ({"proj_weight": np.full((16, features), np.nan)}, "'proj_weight' holds values that are not finite"),
        ({"logit_scale": np.float32(0)}, "its temperature is 0.0"),
        ({"proj_bias": np.array([os.system], dtype=object)}, "it holds objects, and zsr runs no pickle"),
    ):
        projection_file(path, features, **changes)
        with pytest.raises(ZsrError, match=message):
            dual_parts.project(made, dual_parts.projection(path), path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(ZsrError, match="not a projection that can be read"):
        dual_parts.projection(path)


def test_weights_of_another_tower_are_refused(files, tmp_path):
    import timm

    text, tensors = dual_parts.text_of("sentence", finder(files["text"]), "text")
    other = timm.create_model("test_resnet").state_dict()
    with pytest.raises(ZsrError, match="a checkpoint of another architecture"):
        dual_parts.assemble(dual_parts.whole(PLANNED, text), 0, other, tensors, tmp_path, "text")
    for change, message in (
        ({"timm_model_name": "test_efficientnat"}, "did you mean 'test_efficientnet'"),
        ({"settings": {"img_siz": 32}}, "refuses {'img_siz': 32}"),
    ):
        with pytest.raises(ZsrError, match=message):
            dual_parts.whole(PLANNED | {"vision_cfg": PLANNED["vision_cfg"] | change}, text)


@pytest.mark.slow
def test_timm_imported_lightly_is_timm(tmp_path):
    """The same functions, without torchvision and torch's compiler; what is imported later works as usual."""
    code = (
        "import sys\n"
        "from zsr.models import timm_light\n"
        "light = timm_light.create('test_efficientnet', 'efficientnet', {})\n"
        "timm_light.create('test_vit', 'vision_transformer', {'img_size': 64})\n"
        "assert not {'torch._dynamo', 'timm', 'torchvision'} & set(sys.modules), 'too much was imported'\n"
        "import timm, torchvision\n"
        "from torchvision.ops import nms\n"
        "full = timm.create_model('test_efficientnet', num_classes=0)\n"
        "assert type(full) is type(light) and str(full) == str(light)\n"
        "assert timm.data.create_dataset and torchvision.models.resnet18\n"
    )
    assert_runs(code, tmp_path)

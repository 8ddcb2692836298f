"""Dual encoders in the config: digests instead of paths, and each mistake in one line before anything runs."""

import copy
import shutil

import pytest
from support import encoders
from support.dual_encoder import entry
from support.project import assert_runs, refused

from zsr.config.complete import complete
from zsr.errors import ZsrError
from zsr.hashing import encoder_digest
from zsr.plan.plan import Plan


@pytest.fixture
def config(mini, files) -> dict:
    mini["backbones"] = [entry(files)]
    return mini


def test_no_path_is_in_its_spec(config, files, tmp_path):
    one = Plan(config)
    job = one.graph.job("join", {"backbone": "lit"})
    moved = shutil.copytree(files["text"], tmp_path / "moved")
    config["backbones"][0]["dual"]["text"]["sentence"] = str(moved)
    other = Plan(config)
    assert job.text == other.graph.job("join", {"backbone": "lit"}).text and str(files["text"].parent) not in job.text
    assert other.upstream.files[job.record]["text"] == f"{moved}/config.json"
    assert one.config.backbones["lit"].origin == encoders.TOWER


@pytest.mark.parametrize("part", ["image", "text", "projection"])
def test_what_a_file_holds_is_named_and_a_replaced_one_is_refused(config, part):
    given = config["backbones"][0]["dual"][part]
    wanted = given.pop("sha256")
    with pytest.raises(ZsrError, match=f"it has sha256: {wanted}"):
        complete(config)
    given["sha256"] = wanted[:-1]
    with pytest.raises(ZsrError, match="is not a sha256, 64 hex digits"):
        complete(config)


def test_a_digest_of_a_folder_is_that_of_the_files_that_are_read(files, tmp_path):
    folder = shutil.copytree(files["text"], tmp_path / "text")
    before = encoder_digest(folder)
    (folder / "README.md").write_text("more", encoding="utf-8")
    assert encoder_digest(folder) == before == encoder_digest(files["text"])
    (folder / "config.json").write_text("{}", encoding="utf-8")
    assert encoder_digest(folder) != before
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ZsrError, match=r"in the layout of sentence-transformers, no tokenizer.json"):
        encoder_digest(folder)


MISTAKES = {
    "two kinds": (lambda b: b | {"arch": "drawn-rn"}, "name either `arch`"),
    "pretrain": (lambda b: b | {"pretrain": {"dataset": "drawn-captions"}}, "'pretrain' is not for `dual`"),
    "two texts": (lambda b: put(b, "text", vectors="v.parquet"), "name either `sentence` or `vectors`"),
    "two images": (lambda b: put(b, "image", hub="timm/x"), "name either `weights` or `hub`"),
    "two projections": (lambda b: put(b, "projection", learn={"dataset": "mini-source"}), "name either `weights`"),
    "revision": (lambda b: put(b, "image", revision="main"), "'revision' is for repositories of the hub"),
    "hub": (lambda b: put(b, "text", sentence="minilm", sha256=None), "neither a folder .* nor a repository"),
    "key": (lambda b: put(b, "image", pixels=32), "unknown key 'pixels'"),
    "mean": (lambda b: put(b, "image", mean=[0.5]), "1 entries; it needs at least 3"),
    "no file": (lambda b: put(b, "image", weights="/no/tower", sha256=None), "/no/tower: no such file"),
    "variable": (
        lambda b: put(b, "image", weights="$ZSR_NO_SUCH/tower.pt", sha256=None),
        "the variable ZSR_NO_SUCH is not set; set it to the folder that holds tower.pt",
    ),
}


def put(backbone: dict, part: str, **changes: object) -> dict:
    """One part changed; None takes a key out."""
    made = copy.deepcopy(backbone)
    made["dual"][part] = {k: v for k, v in {**made["dual"][part], **changes}.items() if v is not None}
    return made


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(config, mistake):
    change, message = MISTAKES[mistake]
    config["backbones"] = [change(config["backbones"][0])]
    with refused(message):
        complete(config)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("tga-zsr", "'tga-zsr' needs a VisionTransformer, 'lit' is 'test_efficientnet' of timm"),
        ("vp-token", "'vp-token' needs a VisionTransformer"),
        ("advtp", "'advtp' learns words of CLIP's text tower, 'lit' has sentence vectors"),
    ],
)
def test_methods_that_it_does_not_admit_say_so_before_anything_runs(config, method, message):
    config["models"] = [{"name": "m", "method": method}]
    with pytest.raises(ZsrError, match=message):
        complete(config)


def test_the_plan_imports_neither_torch_nor_timm(tmp_path):
    code = (
        "import sys\nimport zsr.plan.plan\n"
        "assert not [n for n in sys.modules if n.split('.')[0] in ('torch', 'timm', 'tokenizers', 'huggingface_hub')]\n"
    )
    assert_runs(code, tmp_path)

"""Published CLIPs become backbones: every format they come in, and each mistake in one line before or without harm."""

import json
import os
import pickle
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from support.hub_models import RESNET, TINY, definition, in_cache, saved, tiny
from support.project import assert_runs, refused

from zsr.errors import ZsrError
from zsr.models import catalogue, convert, hub, torchscript_archive, weights
from zsr.models.backbone import load_backbone, save_tensors

TIMM = TINY | {
    "vision_cfg": {"image_size": 64, "timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear"},
    "custom_text": True,
}


@pytest.mark.parametrize("config", [TINY, RESNET, TIMM], ids=["vit", "resnet", "timm"])
def test_fetched_and_loaded_it_computes_what_open_clip_computes(config, tmp_path):
    theirs = tiny(config)
    made = convert.convert(definition(config), theirs.state_dict(), tmp_path / "x")
    path, record = saved(tmp_path, save_tensors(made), definition(config))
    ours = load_backbone(path, record)
    side = config["vision_cfg"]["image_size"]
    images = torch.randn(2, 3, side, side)
    prompts = ["This is a photo of a kit fox", "A centered satellite photo of a sea or a lake."]
    tokens = open_clip.tokenize(prompts)
    with torch.no_grad():
        assert torch.allclose(ours.visual(images), theirs.encode_image(images), atol=1e-6)
        assert torch.allclose(ours.encode_text(prompts), theirs.encode_text(tokens), atol=1e-6)
    assert torch.equal(ours.tokens(prompts), tokens)
    assert ours.visual.output_dim == ours.visual(images).shape[1]  # for methods that need D
    assert ours.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
    assert ours.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)


def test_every_tag_of_open_clip_is_planned_or_refused_in_one_line():
    known = {(name, tag) for name in catalogue.architectures() for tag in catalogue.tags(name)}
    assert known == set(open_clip.list_pretrained()) & {(n, t) for n, t in known} and len(known) > 150
    refused = []
    for name, tag in sorted(known):
        try:
            about, source = catalogue.tagged(name, tag, "here")
        except ZsrError as error:
            assert "\n" not in str(error)
            refused.append((name, tag))
            continue
        theirs = open_clip.get_pretrained_cfg(name, tag)
        assert about["mean"] == list(theirs["mean"]) and about["interpolation"] == theirs["interpolation"]
        assert theirs["hf_hub"] == f"{source['hub']}/{source['file']}"
        assert bool(about["model"].get("quick_gelu")) == bool(theirs.get("quick_gelu"))
    assert ("ViT-B-32", "openai") in refused and ("ViT-B-32-quickgelu", "openai") not in refused
    assert len(refused) < 50


def test_the_plan_imports_neither_torch_nor_open_clip(tmp_path):
    code = (
        "import sys\nfrom zsr.models import catalogue\n"
        "catalogue.tagged('ViT-B-32-quickgelu', 'openai', 'here')\n"
        "import zsr.plan.plan\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('torch', 'open_clip', 'huggingface_hub')]\n"
        "import open_clip.pretrained as theirs\n"
        "assert theirs._has_hf_hub and theirs._has_safetensors\n"
    )
    assert_runs(code, tmp_path)


# -- formats ----------------------------------------------------------------------------------------------------------


def test_formats_hold_the_same_tensors(tmp_path):
    model = tiny()
    wanted = model.state_dict()
    save_file({name: value.contiguous() for name, value in wanted.items()}, tmp_path / "a.safetensors")
    torch.save(wanted, tmp_path / "b.pt")
    torch.save({"epoch": 3, "state_dict": {f"module.{n}": v for n, v in wanted.items()}}, tmp_path / "c.pt")
    torch.save({"vision_encoder_state_dict": model.visual.state_dict(), "best_acc1": 0.5}, tmp_path / "d.pth.tar")
    torch.save({"model": {f"_orig_mod.module.{n}": v for n, v in wanted.items()}}, tmp_path / "e.pt")
    for name in ("a.safetensors", "b.pt", "c.pt", "e.pt"):
        tensors, quick = weights.read(tmp_path / name)
        assert quick is None and tensors.keys() == wanted.keys()
        assert all(torch.equal(tensors[key], wanted[key]) for key in wanted)
    tower, rest = convert.tower_of(weights.read(tmp_path / "d.pth.tar")[0])
    assert tower.keys() == model.visual.state_dict().keys() and not rest


class QuickGELU(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class Original(torch.nn.Module):
    """The layout of OpenAI's archives: half-precision tensors, integers beside them, code."""

    def __init__(self, quick: bool | None) -> None:
        super().__init__()
        self.visual = torch.nn.Linear(3, 4).half()
        self.activation = {True: QuickGELU(), False: torch.nn.GELU(), None: torch.nn.ReLU()}[quick]
        self.logit_scale = torch.nn.Parameter(torch.tensor(4.6052))
        self.register_buffer("context_length", torch.tensor(77))
        self.shared = torch.nn.Parameter(torch.arange(12.0).view(3, 4).T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.visual(x))


def traced(model: torch.nn.Module) -> torch.jit.ScriptModule:
    """As OpenAI's own archives are made: numbers of the code lie among its constants."""
    return torch.jit.trace(model, torch.ones(1, 3).half())


@pytest.mark.parametrize("compiled", [torch.jit.script, traced])
@pytest.mark.parametrize("quick", [True, False, None])
def test_a_torchscript_archive_is_read_without_being_run(tmp_path, quick, compiled, monkeypatch):
    model = Original(quick)
    torch.jit.save(compiled(model), tmp_path / "ViT.pt")
    monkeypatch.setattr(torch.jit, "load", None)
    tensors, found = weights.read(tmp_path / "ViT.pt")
    assert found is quick
    assert tensors.keys() == {"visual.weight", "visual.bias", "logit_scale", "shared"}
    assert all(torch.equal(tensors[name], value) for name, value in model.state_dict().items() if name in tensors)
    with pytest.raises(ZsrError, match="trained with QuickGELU; write the name with -quickgelu"):
        convert.check_gelu(definition(), True, tmp_path)
    with pytest.raises(ZsrError, match="trained with GELU; write the name without"):
        convert.check_gelu(definition(TINY | {"quick_gelu": True}), False, tmp_path)


class Bomb:
    def __reduce__(self) -> tuple:
        return os.system, ("touch exploded",)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": tiny().state_dict(), "extra": Bomb()}, "bomb.pt")
    with pytest.raises(ZsrError, match=r"bomb.pt: holds more than tensors.*system"):
        weights.read(Path("bomb.pt"))
    Path("bare.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ZsrError, match=r"bare\.pt"):
        weights.read(Path("bare.pt"))
    torch.jit.save(torch.jit.script(Original(True)), "script.pt")
    import zipfile

    with zipfile.ZipFile("script.pt") as old, zipfile.ZipFile("evil.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, pickle.dumps(Bomb()) if name.endswith("data.pkl") else old.read(name))
    assert torchscript_archive.is_archive(Path("evil.pt"))
    with pytest.raises(ZsrError, match=r"evil.pt: .*cannot be read safely.*system"):
        weights.read(Path("evil.pt"))
    assert not Path("exploded").exists()


def test_damaged_and_foreign_files_get_one_line(tmp_path):
    torch.save(tiny().state_dict(), tmp_path / "cut.pt")
    data = (tmp_path / "cut.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    torch.save({"optimizer": 3}, tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("<html>404</html>", encoding="utf-8")
    for name, message in (
        ("cut.pt", "not a checkpoint of torch, damaged or cut short"),
        ("cut.safetensors", "not a safetensors file, damaged or cut short"),
        ("none.pt", "no state dict in it; it holds optimizer"),
        ("text.pt", "not a checkpoint of torch.*it is a web page"),
    ):
        with refused(message):
            weights.read(tmp_path / name)
    with pytest.raises(ZsrError, match="its sha256 is"):
        weights.check(tmp_path / "none.pt", "0" * 64)
    other = tiny().state_dict()
    other["visual.proj"] = other["visual.proj"] * float("nan")
    with pytest.raises(ZsrError, match=r"'visual.proj' holds values that are not finite"):
        convert.convert(definition(), other, tmp_path)
    with pytest.raises(ZsrError, match=r"another architecture, 'visual.conv1.weight' is"):
        convert.convert(definition(), tiny(RESNET).state_dict(), tmp_path)


def test_a_prompt_is_never_cut(tmp_path):
    ours = convert.convert(definition(), tiny().state_dict(), tmp_path)
    with pytest.raises(ZsrError, match=r"tokens, the text tower takes 77; shorten it"):
        ours.tokens(["fox " * 76])


# -- the hub ----------------------------------------------------------------------------------------------------------


def test_the_cache_is_found_and_safetensors_come_first(cache):
    in_cache(cache, "org/model", {"open_clip_model.safetensors": b"s", "open_clip_pytorch_model.bin": b"p"})
    in_cache(cache, "org/old", {"open_clip_pytorch_model.bin": b"p"})
    assert hub.weights("org/model").read_bytes() == b"s"
    assert hub.weights("org/old").read_bytes() == b"p"


def test_offline_it_says_what_is_missing_where_it_looked_and_the_cure(cache):
    with pytest.raises(
        ZsrError, match=r"hub repository org/none: .*open_clip_model.safetensors.*hf download"
    ) as caught:
        hub.weights("org/none")
    assert f"is not in {cache}/models--org--none" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ZsrError, match="not a name of a repository"):
        hub.find("a/b/c", "x")


def test_a_hub_tokenizer_is_read_without_transformers(cache):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({"[PAD]": 0, "[SEP]": 1, "a": 2, "fox": 3, "[UNK]": 4}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 1)])
    made.enable_truncation(2)
    about = {"pad_token": "[PAD]", "sep_token": {"content": "[SEP]"}}
    files = {"tokenizer.json": made.to_str().encode(), "tokenizer_config.json": json.dumps(about).encode()}
    in_cache(cache, "org/words", files)
    from zsr.models.tokenizers import make

    plain = make({"kind": "hf", "name": "org/words"}, context=5)
    assert plain(["a fox", "fox"]) == [[2, 3, 1, 0, 0], [3, 1, 0, 0, 0]]
    stripped = make({"kind": "hf", "name": "org/words", "clean": "canonicalize", "strip_sep_token": True}, context=5)
    assert stripped(["A, Fox!"]) == [[2, 3, 0, 0, 0]]
    with pytest.raises(ZsrError, match="6 tokens, the text tower takes 5"):
        plain(["a a a a a"])
    with pytest.raises(ZsrError, match=r"hub repository org/lost: tokenizer.json is not in"):
        make({"kind": "hf", "name": "org/lost"}, context=5)(["a"])

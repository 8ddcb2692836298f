"""Published CLIPs become backbones: every format they come in, and each mistake in one line before or without harm."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
import yaml
from safetensors.torch import save_file
from support.hub_models import RESNET, TINY, definition, in_cache, tiny
from support.project import ROOT, assert_runs, refused

from workflow.scripts import publish
from zsr.config.complete import complete
from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.models import catalogue, convert, hub, torchscript_archive, weights
from zsr.models.backbone import load_backbone, save_tensors
from zsr.plan.plan import Plan

TIMM = TINY | {
    "vision_cfg": {"image_size": 64, "timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear"},
    "custom_text": True,
}


def saved(folder: Path, tensors: dict, about: dict) -> tuple[Path, dict]:
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    return path, {"definition": about, "digests": {"weights": file_digest(path)}}


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


# -- the config -------------------------------------------------------------------------------------------------------

VIT = {"name": "vit", "open_clip": "ViT-B-32-quickgelu", "pretrained": "openai"}
MISTAKES = {
    "QuickGELU": (VIT | {"open_clip": "ViT-B-32"}, r"computes GELU .*write open_clip: ViT-B-32-quickgelu"),
    "GELU": (VIT | {"pretrained": "laion2b_s34b_b79k"}, r"without QuickGELU; write open_clip: ViT-B-32$"),
    "architecture": (VIT | {"open_clip": "ViT-B-33"}, "unknown open_clip architecture 'ViT-B-33'; did you mean"),
    "tag": (VIT | {"pretrained": "opanai"}, "unknown pretrained tag 'opanai'; did you mean 'openai'"),
    "both": (VIT | {"arch": "drawn-rn"}, "name either `arch`"),
    "neither": ({"name": "vit"}, "name either `arch`"),
    "no weights": ({"name": "vit", "open_clip": "RN50"}, "needs either `pretrained`"),
    "pretrain": (VIT | {"pretrain": {"dataset": "drawn-captions"}}, "`pretrain` belongs to `arch`"),
    "hub with tag": (VIT | {"open_clip": "hf-hub:a/b"}, "has its weights on the hub; take out 'pretrained'"),
    "hub name": ({"name": "vit", "open_clip": "hf-hub:ab"}, "write hf-hub:org/model"),
    "no file": ({"name": "vit", "open_clip": "RN50", "weights": "/no/file.pt"}, "/no/file.pt: no such file"),
    "sha256": ({"name": "vit", "open_clip": "RN50", "weights": "x.pt", "sha256": "12"}, "is not a sha256"),
    "drawn": ({"name": "vit", "arch": "drawn-rn", "pretrained": "openai"}, "'pretrained' belongs to `open_clip`"),
    "CoCa": (VIT | {"open_clip": "coca_ViT-B-32", "pretrained": "laion2b_s13b_b90k"}, "CoCa's image tower"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mini, mistake):
    entry, message = MISTAKES[mistake]
    mini["backbones"] = [entry]
    with refused(message):
        complete(mini)


def test_a_local_file_is_named_by_its_content(mini, tmp_path):
    path = tmp_path / "clip.pt"
    path.write_bytes(b"weights")
    entry = {"name": "vit", "open_clip": "ViT-B-32", "weights": str(path)}
    mini["backbones"] = [entry]
    wanted = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(ZsrError, match=f"the file has sha256: {wanted}"):
        complete(mini)
    entry["sha256"] = wanted
    one = Plan(mini)
    entry["weights"] = str(path.rename(tmp_path / "moved.pt"))
    other = Plan(mini)
    job = one.job("fetch", {"backbone": "vit"})
    assert job.text == other.job("fetch", {"backbone": "vit"}).text and str(tmp_path) not in job.text
    assert other.files == {job.record: {"weights": entry["weights"]}}


@pytest.mark.parametrize(
    ("name", "tag"),
    [("ViT-B-16-SigLIP", "webli"), ("MobileCLIP-B", "datacompdr"), ("ViT-B-32", "laion2b_s34b_b79k")],
)
def test_a_local_file_sees_the_pixels_that_all_tags_of_its_architecture_see(mini, name, tag):
    known = {"name": "tagged", "open_clip": name, "pretrained": tag}
    own = {"name": "own", "open_clip": name, "weights": "x.pt", "sha256": "0" * 64}
    mini["backbones"] = [known, own]
    tagged, local = (backbone["definition"] for backbone in complete(mini)["backbones"])
    assert local == tagged
    assert len({str(catalogue._pixels(about)) for about in catalogue.tags("ViT-L-14").values()}) > 1
    assert catalogue.usual_pixels("ViT-L-14") == catalogue.CLIP_PIXELS == catalogue.usual_pixels("no tags")


@pytest.mark.parametrize(
    ("name", "tag", "why"),
    [
        ("RN50-quickgelu", "openai", "is a ResNet"),
        ("ViT-B-16-SigLIP", "webli", "is 'vit_base_patch16_siglip_224' of timm"),
    ],
)
def test_methods_that_need_tokens_say_so_before_anything_runs(mini, name, tag, why):
    mini["backbones"] = [{"name": "vit", "open_clip": name, "pretrained": tag}]
    mini["models"] = [{"name": "t", "method": "tga-zsr"}]
    with pytest.raises(ZsrError, match=f"'tga-zsr' needs a VisionTransformer, 'vit' {why}"):
        complete(mini)


def test_published_checkpoints_are_rows(mini):
    mini["backbones"] = [{"name": "l14", "open_clip": "ViT-L-14-quickgelu", "pretrained": "openai"}, VIT]
    mini["models"] = [
        {"name": "fare", "method": "published", "settings": {"checkpoint": "fare2-vit-l-14"}, "backbones": ["l14"]}
    ]
    plan = Plan(mini)
    (job,) = [job for job in plan.jobs.values() if job.rule == "publish"]
    assert job.spec["source"]["hub"] == "chs20/fare2-clip"
    asked = next(iter(plan.asked.values()))
    assert (asked.train_eps, asked.trained_on) == ("2/255", "imagenet")
    mini["models"][0]["backbones"] = ["vit"]
    with pytest.raises(ZsrError, match="is a tower of open_clip: ViT-L-14-quickgelu, pretrained: openai, not of 'vit'"):
        Plan(mini)
    for settings, message in (
        (
            {"checkpoint": "fare2-vit-l14"},
            "unknown published checkpoint 'fare2-vit-l14'; did you mean 'fare2-vit-l-14'",
        ),
        ({}, "name one of `checkpoint`, `hub`, `weights`"),
        ({"hub": "org/model"}, "say the eps"),
    ):
        mini["models"][0]["settings"] = settings
        with pytest.raises(ZsrError, match=message):
            Plan(mini)


def test_every_row_of_the_table_belongs_to_weights_that_open_clip_knows():
    for name, row in yaml.safe_load((ROOT / "zsr/models/published.yaml").read_text(encoding="utf-8")).items():
        catalogue.tagged(*row["base"].split(":"), name)


# -- published towers --------------------------------------------------------------------------------------------------


def test_a_published_tower_is_laid_over_its_backbone(tmp_path):
    base = {name: value.contiguous() for name, value in tiny().state_dict().items()}
    theirs = {name: value.clone() for name, value in base.items()}
    theirs["visual.proj"] += 0.25
    for checkpoint in (theirs, {n.removeprefix("visual."): v for n, v in theirs.items() if n.startswith("visual.")}):
        tower, rest = convert.tower_of(checkpoint)
        convert.check_text(rest, base, tmp_path)
        found = convert.changed(tower, base, tmp_path)
        assert found.keys() == {"proj"} and torch.equal(found["proj"], theirs["visual.proj"])
    theirs["text_projection"] = theirs["text_projection"] + 1
    with pytest.raises(ZsrError, match=r"its text tower is not the backbone's \('text_projection' differs\)"):
        convert.check_text(convert.tower_of(theirs)[1], base, tmp_path)
    with pytest.raises(ZsrError, match="not a checkpoint of this backbone"):
        convert.changed(tiny(RESNET).visual.state_dict(), base, tmp_path)


def test_a_published_tower_of_another_activation_is_refused(tmp_path, monkeypatch):
    """Only an archive tells; its tensors would fit."""
    path, record = saved(tmp_path, tiny().state_dict(), definition())
    inputs = {"backbone": tmp_path / "backbone.json", "weights": path}
    job = SimpleNamespace(
        spec={"source": {"sha256": file_digest(path)}}, record=lambda _: record, checked=lambda role, output: path,
        input=inputs.get, outputs={}, facts={},
    )  # fmt: skip
    monkeypatch.setattr(weights, "read", lambda _: (tiny().state_dict(), True))
    with refused("its weights were trained with QuickGELU; write the name with -quickgelu"):
        publish.work(job)


def text_of(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """The text tower of a whole CLIP, with other values."""
    return convert.tower_of({**tiny().state_dict(), **changes})[1]


def test_a_text_tower_is_the_backbones_up_to_a_rounding_to_fp16(tmp_path):
    base = tiny().state_dict()
    base["token_embedding.weight"] = torch.logspace(-9, 4, 49408 * 32).view(49408, 32) * (-1) ** torch.arange(32)
    rounded = {name: value.half().float() for name, value in base.items()}
    convert.check_text(convert.tower_of(rounded)[1], base, tmp_path)
    convert.check_text(convert.tower_of(base)[1], rounded, tmp_path)
    base = tiny().state_dict()
    tuned = base["token_embedding.weight"] + 0.0015  # a text tower after a short fine-tuning at a small rate
    with refused(r"its text tower is not the backbone's \('token_embedding.weight' differs\)"):
        convert.check_text(text_of(**{"token_embedding.weight": tuned}), base, tmp_path)


def test_text_towers_are_compared_under_both_of_open_clips_spellings(tmp_path):
    base = tiny().state_dict()
    custom = {name if name.startswith(("visual.", "logit")) else f"text.{name}": v for name, v in base.items()}
    other = custom | {"text.text_projection": base["text_projection"] + 1}
    for mine, theirs, wrong in ((base, custom, other), (custom, base, base | {"text_projection": torch.zeros(32, 32)})):
        convert.check_text(convert.tower_of(theirs)[1], mine, tmp_path)
        with refused(r"not the backbone's \('text_projection' differs\)"):
            convert.check_text(convert.tower_of(wrong)[1], mine, tmp_path)
    foreign = {"text.encoder.weight": torch.zeros(2)}
    with refused(r"not the backbone's \(no tensor of it has a name that the backbone's has\); make it a backbone"):
        convert.check_text(foreign, base, tmp_path)
    convert.check_text({"logit_scale": base["logit_scale"]}, base, tmp_path)  # says nothing of a text tower

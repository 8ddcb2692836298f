"""Backbones: built by seed, loaded only into their own architecture, prompts of known words alone."""

import copy
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from support.project import assert_runs

from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.models import backbone as backbones
from zsr.models import word_tokenizer
from zsr.models.backbone import build, load_backbone, load_model, save_tensors

ARCHS = Path(backbones.__file__).parent / "archs"
DRAWN = ("drawn-rn", "drawn-vit")


def arch_of(name: str) -> dict:
    return yaml.safe_load((ARCHS / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built() -> dict:
    torch.set_num_threads(1)
    return {name: build(arch_of(name), seed=1) for name in DRAWN}


def saved(folder: Path, tensors: dict, arch: dict) -> tuple[Path, dict]:
    folder.mkdir(exist_ok=True)
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    return path, {"spec": {"arch": arch}, "digests": {"weights": file_digest(path)}}


@pytest.mark.parametrize("name", DRAWN)
def test_shapes(built, name):
    model = built[name]
    images = torch.zeros(2, 3, model.image_size, model.image_size)
    assert model.visual.eval()(images).shape == (2, model.embed_dim)
    assert model.encode_text(["a photo of a red circle", "a photo of two hearts"]).shape == (2, model.embed_dim)
    assert model.logit_scale == pytest.approx(14.3, rel=1e-4)
    assert len(model.mean) == len(model.std) == 3


@pytest.mark.parametrize("name", DRAWN)
def test_fresh_weights_are_a_function_of_the_seed(built, name):
    before = torch.get_rng_state()
    again, other = build(arch_of(name), seed=1), build(arch_of(name), seed=2)
    assert torch.equal(before, torch.get_rng_state())
    one, same, different = (save_tensors(model) for model in (built[name], again, other))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], different[key]) for key in one)


def test_the_vit_has_what_prompts_and_attention_need(built):
    from open_clip.transformer import VisionTransformer

    visual = built["drawn-vit"].visual
    assert isinstance(visual, VisionTransformer)
    width = visual.class_embedding.shape[0]
    assert visual.conv1(torch.zeros(1, 3, 32, 32)).shape == (1, width, 4, 4)
    assert visual.positional_embedding.shape == (17, width)  # the class token and 16 patches
    assert visual.transformer.resblocks[0].attn.num_heads == 3


@pytest.mark.parametrize("name", DRAWN)
def test_saved_and_loaded_it_is_the_same(built, name, tmp_path):
    path, record = saved(tmp_path / "a", save_tensors(built[name]), arch_of(name))
    loaded = load_backbone(path, record)
    images = torch.rand(4, 3, 32, 32)
    same = copy.deepcopy(built[name].visual).eval().requires_grad_(False)  # on some CPUs constant weights sum otherwise
    with torch.no_grad():
        assert torch.equal(loaded.visual(images), same(images))
    assert loaded.logit_scale == built[name].logit_scale
    assert not any(p.requires_grad for p in loaded.clip.parameters()) and not loaded.visual.training


def test_a_fine_tuned_model_is_its_backbone_with_the_changed_tensors(built, tmp_path):
    path, record = saved(tmp_path / "a", save_tensors(built["drawn-vit"]), arch_of("drawn-vit"))
    trained, trained_record = saved(tmp_path / "b", {"proj": torch.ones(96, 64)}, {})
    model = load_model(path, record, trained, trained_record, lambda visual: visual)
    assert torch.equal(model.visual.proj, torch.ones(96, 64))
    assert torch.equal(model.visual.class_embedding, built["drawn-vit"].visual.class_embedding)


def test_weights_of_another_architecture_are_refused_by_name(built, tmp_path):
    vit, record = saved(tmp_path / "a", save_tensors(built["drawn-vit"]), arch_of("drawn-rn"))
    with pytest.raises(ZsrError, match=r"another architecture.*visual"):
        load_backbone(vit, record)
    lacking = save_tensors(built["drawn-rn"])
    del lacking["text_projection"]
    path, record = saved(tmp_path / "b", lacking, arch_of("drawn-rn"))
    with pytest.raises(ZsrError, match="lacks the tensor 'text_projection'"):
        load_backbone(path, record)
    path, record = saved(tmp_path / "c", save_tensors(built["drawn-rn"]), arch_of("drawn-rn"))
    trained, trained_record = saved(tmp_path / "d", {"conv1.weight": torch.ones(1)}, {})
    with pytest.raises(ZsrError, match=r"'conv1.weight' is \[1\] there"):
        load_model(path, record, trained, trained_record, lambda visual: visual)


def test_damaged_weights_are_refused(built, tmp_path):
    path, record = saved(tmp_path / "a", save_tensors(built["drawn-rn"]), arch_of("drawn-rn"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ZsrError, match="damaged"):
        load_backbone(path, record)
    record["digests"]["weights"] = file_digest(path)
    path.write_bytes(b"no tensors")
    record["digests"]["weights"] = file_digest(path)
    with pytest.raises(ZsrError, match="not a safetensors file"):
        load_backbone(path, record)


@pytest.mark.parametrize("change", [{"vision_cfg": {"layer": 3}}, {"tokenizer": "letters"}, {"vocab": 7}])
def test_bad_architectures_get_one_line(change):
    arch = arch_of("drawn-vit")
    if "vocab" in change:
        arch["text_cfg"]["vocab_size"] = 7
    elif "vision_cfg" in change:
        arch["vision_cfg"] |= change["vision_cfg"]
    else:
        arch |= change
    with pytest.raises(ZsrError, match=r"layer|tokenizer|vocab"):
        build(arch)


def test_tokens():
    known = word_tokenizer.vocabulary()
    (row,) = word_tokenizer.tokenize(["A photo of circles"], 8)
    assert row == [known[w] for w in ("<start>", "a", "photo", "of", "circle", "##s", "<end>", "<pad>")]
    assert max(known.values()) == known["<end>"]  # open_clip pools at the highest id
    assert word_tokenizer.tokenize(["crosses"], 4) == [[known["<start>"], known["cross"], known["##s"], known["<end>"]]]


def test_no_prompt_is_cut_and_no_word_dropped():
    with pytest.raises(ZsrError, match=r"'rde'.*nearest are red"):
        word_tokenizer.tokenize(["a photo of a rde circle"], 12)
    with pytest.raises(ZsrError, match="knows 68 words"):
        word_tokenizer.tokenize(["a photo of a helicopter-zebra"], 12)
    with pytest.raises(ZsrError, match="14 tokens, the text tower takes 12"):
        word_tokenizer.tokenize(["a a a a a a a a a a a a"], 12)


def test_every_prompt_of_the_drawn_sets_is_known():
    for path in (ARCHS.parents[1] / "data" / "sets").glob("*.yaml"):
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
        if entry.get("reader") in ("drawn", "handwritten"):
            prompts = [t.replace("{}", name) for t in entry["templates"] for name in entry["classes"]]
            rows = word_tokenizer.tokenize(prompts, 12)
            assert len({tuple(row) for row in rows}) == len(prompts)


@pytest.mark.slow
def test_open_clip_imported_lightly_is_open_clip(tmp_path):
    """The same class, without torch's compiler; and what is imported later works as if nothing had been done."""
    code = (
        "import sys\n"
        "from zsr.models.open_clip_light import clip_class\n"
        "light = clip_class()\n"
        "assert not {'torch._dynamo', 'timm', 'torchvision', 'open_clip'} & set(sys.modules), 'too much was imported'\n"
        "import open_clip, timm, torchvision\n"
        "from torchvision.ops import FrozenBatchNorm2d, nms\n"
        "assert open_clip.CLIP is light and clip_class() is light\n"
        "assert open_clip.create_model and torchvision.models.resnet18 and timm.create_model\n"
    )
    assert_runs(code, tmp_path)

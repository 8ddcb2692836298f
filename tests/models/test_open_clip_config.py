"""Published CLIPs in the config: each mistake is one line before anything runs."""

import hashlib

import pytest
import yaml
from support.project import ROOT, refused

from zsr.config.complete import complete
from zsr.errors import ZsrError
from zsr.models import catalogue
from zsr.plan.plan import Plan

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
    job = one.graph.job("fetch", {"backbone": "vit"})
    assert job.text == other.graph.job("fetch", {"backbone": "vit"}).text and str(tmp_path) not in job.text
    assert other.upstream.files == {job.record: {"weights": entry["weights"]}}


@pytest.mark.parametrize(
    ("name", "tag"),
    [("ViT-B-16-SigLIP", "webli"), ("MobileCLIP-B", "datacompdr"), ("ViT-B-32", "laion2b_s34b_b79k")],
)
def test_a_local_file_sees_the_pixels_that_all_tags_of_its_architecture_see(mini, name, tag):
    known = {"name": "tagged", "open_clip": name, "pretrained": tag}
    own = {"name": "own", "open_clip": name, "weights": "x.pt", "sha256": "0" * 64}
    mini["backbones"] = [known, own]
    tagged, local = (backbone.definition for backbone in complete(mini).backbones.values())
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
    asked = next(iter(plan.requests.values()))
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

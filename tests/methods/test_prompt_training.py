"""Learned prompts: what moves in training, what is saved, and what the plan does with them."""

import copy

import pytest
import torch
import yaml
from safetensors.torch import save_file
from support.method_setting import equal, fit, make_batch, make_source
from support.project import MINI
from support.prompts import METHODS, NAMES, RESNET, SIDE, TEMPLATES, arch, each, make_backbone, make_task

from zsr import registry
from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.methods.advvlp import AdvVLP
from zsr.methods.advvp import AdvVP
from zsr.methods.apd import APD
from zsr.methods.apt import APT
from zsr.methods.core.text_prompts import TextPrompts
from zsr.models.backbone import load_model, save_tensors
from zsr.plan.plan import Plan
from zsr.training import fine_tune
from zsr.training.checkpoint import Checkpoint
from zsr.training.recipe import Recipe

# -- training and files ----------------------------------------------------------------------------------------------


@each
def test_only_vectors_move_and_the_file_makes_the_model_again(name, tmp_path):
    method, backbone = METHODS[name], make_backbone()
    before = copy.deepcopy(backbone.clip)
    task = make_task(method, backbone)
    start = method.wrap(copy.deepcopy(task.visual), task.seed, text=task.text)
    fit(tmp_path, method, task, make_source(16, SIDE), lr=0.5)
    assert equal(backbone.clip, before)
    saved = fine_tune.trained_tensors(task.visual, task.original)
    parameters = dict(start.named_parameters())
    for key, value in saved.items():
        if key != "prompts.start":  # FAP's embedded words
            assert not torch.equal(value, parameters[key]), key
    assert all(not key.startswith("visual.") for key in saved)
    whole, record = files(tmp_path / "backbone", save_tensors(make_backbone()), {"spec": {"arch": arch()}})
    path, trained = files(tmp_path / "model", saved, {"backbone": record["digests"]["weights"]})
    assert path.stat().st_size < 0.35 * whole.stat().st_size  # the tower of a test is tiny, real ones are 1000 times it
    again = load_model(whole, record, path, trained, method.wrap, with_text=True)
    images = task.normalise(make_batch(3, SIDE).images)
    assert torch.equal(again.visual.eval().requires_grad_(False)(images), task.visual(images))  # as it is left
    found = method.embeddings(again.visual, again.text, NAMES, TEMPLATES)
    assert torch.equal(found, method.texts(task).detach())
    assert method.embeddings(again.visual, again.text, ["moon", "heart"], TEMPLATES).shape == (2, 8)
    other, other_record = files(tmp_path / "other", save_tensors(make_backbone(seed=2)), {"spec": {"arch": arch()}})
    with pytest.raises(ZsrError, match="trained on the backbone"):
        load_model(other, other_record, path, trained, method.wrap, with_text=True)


def files(folder, tensors, record):
    folder.mkdir()
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    return path, {**record, "digests": {"weights": file_digest(path)}}


def test_an_interrupted_training_of_both_sides_ends_bit_identical(tmp_path):
    recipe, ends = Recipe(epochs=3, batch=8, lr=0.1, warmup=1), []
    for stops in ((None,), (3, None)):
        for stop in stops:
            task = make_task(APD())
            checkpoint = Checkpoint(tmp_path / "last.ckpt", "spec")

            def log(row, checkpoint=checkpoint, stop=stop):
                checkpoint.asked_to_stop = row["step"] + 1 == stop

            run = (APD(), task, make_source(16, SIDE), recipe)
            if stop:
                with pytest.raises(ZsrError, match="stopped by a signal"):
                    fine_tune.fine_tune(*run, device="cpu", checkpoint=checkpoint, log=log)
            else:
                fine_tune.fine_tune(*run, device="cpu", checkpoint=checkpoint, log=log)
                checkpoint.done()
        ends.append(task.visual)
    assert equal(*ends)


def test_a_text_learns_on_a_resnet_and_its_statistics_stay(tmp_path):
    method, backbone = APT(tokens=4), make_backbone(RESNET)
    before = copy.deepcopy(backbone.clip)
    task = make_task(method, backbone)
    fit(tmp_path, method, task, make_source(16, 32), lr=0.5)
    assert equal(backbone.clip, before)
    assert fine_tune.trained_tensors(task.visual, task.original).keys() == {"prompts.text"}


def test_tokens_and_a_frame_at_once(tmp_path):
    method = AdvVP(tokens=3, width=2)
    task = make_task(method)
    images = make_batch(3, SIDE).images
    wrapped = method.wrap(copy.deepcopy(task.visual), seed=3)
    seen = []
    wrapped.visual.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    wrapped.visual.transformer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    wrapped(images)
    added = (seen[0] - images).abs().amax((0, 1))
    assert not added[2:-2, 2:-2].any()
    assert added[:2].min() > 0
    assert seen[1].shape[1] == 1 + 9 + 3
    fit(tmp_path, method, task, make_source(16, SIDE), lr=1.0)
    assert equal(task.visual.visual, make_backbone().visual)
    saved = fine_tune.trained_tensors(task.visual, task.original)
    assert saved.keys() == {"prompt", "frame"}
    assert not any(torch.equal(saved[key], getattr(wrapped, key)) for key in saved)


# -- mistakes, and the plan ------------------------------------------------------------------------------------------


def test_mistakes_are_named_before_the_first_step(tmp_path):
    with pytest.raises(ZsrError, match="AdvVLP: needs the patch tokens"):
        fit(tmp_path, AdvVLP(), make_task(AdvVLP(), make_backbone(RESNET)))
    with pytest.raises(ZsrError, match="depth is 3, the towers share 2 layers"):
        fit(tmp_path, AdvVLP(depth=3), make_task(AdvVLP()))
    with pytest.raises(ZsrError, match=r"'red square' with 9 learned vectors is 13 tokens, the text tower takes 12"):
        fit(tmp_path, APT(tokens=9), make_task(APT()))
    backbone = make_backbone()
    backbone.clip.attn_mask = None
    with pytest.raises(ZsrError, match="APT: needs a causal text tower"):
        fit(tmp_path, APT(), make_task(APT(), backbone))


def mini(**model) -> dict:
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    config["models"] += [{"name": "learned", "method": "advvlp", "backbones": ["vit"], **model}]
    return config


def test_a_model_that_trains_text_has_class_embeddings_of_its_own():
    plan, without = Plan(mini()), Plan(yaml.safe_load(MINI.read_text(encoding="utf-8")))
    own = {key for key in plan.jobs if key[0] == "texts"}
    assert {job.outputs["head"] for job in plan.jobs.values() if job.rule == "texts"} == {
        f"heads/vit.learned.s0/{name}.safetensors" for name in ("drawn-colour", "mini-source", "handwritten-digits")
    }
    for cell in plan.cells:
        learned = cell.wildcards["model"] == "vit.learned.s0"
        assert (cell.needs["head"].rule, cell.needs["head"].wildcards["dataset"]) == (
            "texts" if learned else "heads",
            cell.wildcards["dataset"],
        )
        if learned:
            assert cell.needs["head"].needs["model"] is cell.needs["model"]
    # nobody else's job changes
    kinds = ("prepare", "pretrain", "heads", "adopt", "finetune", "evaluate")
    for key, job in without.jobs.items():
        if key[0] in kinds:
            assert plan.jobs[key].hash == job.hash
    assert len(own) == 3


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"settings": {"tokens": 12}}, r"models 'learned' on '.*': 'a photo of a .*' with 12 learned vectors is 1\d"),
        ({"settings": {"depth": 3}}, r"settings.depth: 3 layers with prompts, the towers share 2"),
        ({"settings": {"template": "no name"}}, "must hold {} once"),
        ({"settings": {"tokens": -1}}, "tokens: -1 is less than 0"),
        ({"settings": {"init": "a foto of a"}}, "does not know the word 'foto'"),
        ({"backbones": ["rn"]}, "needs a VisionTransformer"),
        ({"method": "apt"}, "with 16 learned vectors"),
    ],
    ids=["long", "deep", "template", "negative", "word", "resnet", "apt"],
)
def test_the_plan_refuses_prompts_that_do_not_fit(model, message):
    with pytest.raises(ZsrError, match=message):
        Plan(mini(**model))


def test_every_method_that_trains_text_says_so():
    for name in registry.names("methods"):
        trains_text = issubclass(registry.load("methods", name), TextPrompts)
        assert registry.describe("methods", name).constants["trains_text"] == trains_text


def test_the_dag_makes_evaluates_and_names_them(copy):
    config = mini()
    config["models"] = config["models"][-1:]
    protocol = config["protocols"][0]
    protocol |= {"datasets": ["drawn-colour"], "attacks": protocol["attacks"][:1], "eps": ["4/255"]}
    config["backbones"] = config["backbones"][1:]
    copy.configure(config)
    cell = "results/eval/mini/vit.learned.s0/drawn-colour/pgd/eps-4_255.json"
    copy.snakemake(cell)
    records = [yaml.safe_load(copy.path(path).read_text(encoding="utf-8")) for path in (
        cell,
        "results/heads/vit.learned.s0/drawn-colour.json",
        "results/heads/vit/drawn-colour.json",
        "results/models/vit.learned.s0/manifest.json",
        "results/backbones/vit/manifest.json",
    )]  # fmt: skip
    evaluated, own, shared, model, backbone = records
    assert evaluated["head"] == own["digests"]["head"] != shared["digests"]["head"]
    assert model["backbone"] == backbone["digests"]["weights"]
    assert copy.path("results/models/vit.learned.s0/weights.safetensors").stat().st_size < 10_000

"""Learned prompts: where they stand in open_clip's towers, each loss in plain loops, what moves, what is saved."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import save_file
from support.method_setting import Fixed, cosine, equal, fit, kl_of, make_batch, make_source, mean, probabilities
from support.project import MINI

from zsr import registry
from zsr.errors import ZsrError
from zsr.evaluation.class_embeddings import class_embeddings
from zsr.hashing import file_digest
from zsr.methods.advmaple import AdvMaPLe
from zsr.methods.advtp import AdvTP
from zsr.methods.advvlp import AdvVLP
from zsr.methods.advvp import AdvVP
from zsr.methods.apd import APD
from zsr.methods.apt import APT
from zsr.methods.core.task import Task
from zsr.methods.core.text_prompts import TextPrompts
from zsr.methods.fap import FAP
from zsr.methods.tecoa import TeCoA
from zsr.models import word_tokenizer
from zsr.models.backbone import build, load_model, save_tensors
from zsr.models.prompted_text_tower import Laid, TextTower
from zsr.plan.plan import Plan
from zsr.training import fine_tune
from zsr.training.checkpoint import Checkpoint
from zsr.training.recipe import Recipe

torch.set_num_threads(1)

NAMES, TEMPLATES = ["circle", "red square", "letter e", "digit 4"], ["a photo of a {}", "a photo of a {} object"]
SCALE, SIDE = 6.0, 12
VIT = {"layers": 2, "width": 16, "head_width": 8, "mlp_ratio": 2.0, "patch_size": 4, "image_size": SIDE}
RESNET = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 32}
METHODS = {
    "apt": APT(tokens=4),
    "apt-constant": APT(tokens=4, perturb="constant"),
    "advtp": AdvTP(tokens=3, init="a photo of a", template="dataset"),
    "advmaple": AdvMaPLe(),
    "advvlp": AdvVLP(),
    "fap": FAP(),
    "apd": APD(),
    "apd-feedback": APD(label=0.0, feedback=0.7),
    "apd-offline": APD(teacher="offline"),
}
each = pytest.mark.parametrize("name", METHODS)


def arch(vision: dict = VIT) -> dict:
    text = {"context_length": 12, "vocab_size": len(word_tokenizer.vocabulary()), "width": 16, "heads": 2, "layers": 3}
    shared = {"embed_dim": 8, "logit_scale": SCALE, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
    return {**shared, "vision_cfg": dict(vision), "text_cfg": text, "tokenizer": "words"}


def make_backbone(vision: dict = VIT, seed: int = 1):
    backbone = build(arch(vision), seed)
    with torch.no_grad():  # fresh embeddings are tiny: words must matter
        backbone.clip.token_embedding.weight.mul_(30)
        backbone.clip.positional_embedding.mul_(10)
        for part in (backbone.clip.transformer, backbone.clip.visual):
            for parameter in part.parameters():
                parameter.mul_(3 if parameter.ndim == 2 else 1)
    backbone.clip.eval().requires_grad_(False)
    return backbone


def make_task(method, backbone=None, seed: int = 3) -> Task:
    backbone = backbone or make_backbone()
    head = class_embeddings(backbone, NAMES, TEMPLATES)
    return Task(
        backbone.visual, backbone.mean, backbone.std, head, SCALE, 16 / 255, 2, 0.5, seed,
        classes=tuple(NAMES), templates=tuple(TEMPLATES), encode_text=backbone.encode_text,
        text=backbone.text if method.trains_text else None,
    )  # fmt: skip


def dressed(method, *, moved: bool = True, backbone=None) -> Task:
    """As the loop does before the first step; with `moved`, the prompts are somewhere else than at their start."""
    task = make_task(method, backbone)
    method.check(task)
    task.wrap_student(method.wrap)
    method.prepare(task, make_source(side=SIDE))
    fine_tune.choose_parameters(method, task.visual)
    generator = torch.Generator().manual_seed(8)
    for parameter in task.visual.parameters():
        if moved and parameter.requires_grad:
            parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return task


# -- where the vectors stand -----------------------------------------------------------------------------------------


def test_vectors_that_are_the_words_leave_the_prompt_as_open_clip_reads_it():
    backbone = make_backbone()
    for tokens in (0, 1, 2, 4):
        method = AdvVLP(tokens=tokens, depth=1)
        task = dressed(method, backbone=make_backbone(), moved=False)
        torch.testing.assert_close(method.texts(task), class_embeddings(backbone, NAMES, TEMPLATES[:1]))


def test_each_dataset_may_keep_its_own_templates():
    method = AdvTP(tokens=4, init="a photo of a", template="dataset")
    task = dressed(method, moved=False)
    torch.testing.assert_close(method.texts(task), class_embeddings(make_backbone(), NAMES, TEMPLATES))


def test_vectors_without_words_push_the_name_along():
    text, generator = make_backbone().text, torch.Generator().manual_seed(0)
    laid = text.lay(["red square"], ["{}"], "", 5)
    known = word_tokenizer.vocabulary()
    embedded = text.clip.token_embedding.weight
    assert laid.words.shape == (1, 1, 1 + 5 + 2 + 1, 16)
    assert laid.ends.tolist() == [[8]]
    assert torch.equal(laid.words[0, 0, 6:], embedded[[known["red"], known["square"], known["<end>"]]])
    context = text.initial("a photo", 5, generator)
    assert torch.equal(context[:2], embedded[[known["a"], known["photo"]]])
    assert 0 < context[2:].abs().max() < 0.1


@pytest.mark.parametrize(
    ("template", "kept"), [("a photo of a {}", 2), ("a {}", 1), ("{}", 0), ("this {}", 0)], ids=str
)
def test_what_the_template_shares_with_the_initial_words_is_replaced(template, kept):
    text = make_backbone().text
    if "this" in template:
        template = "the {}"
    laid = text.lay(["circle"], [template], "a photo of a", 2)
    assert laid.ends.item() == len(template.split()) + 1 + 2 - kept


def deep_by_hooks(tower, blocks, context, place):
    """Replace what comes into each layer at some places, by hooks on open_clip's own modules."""
    handles = []
    for layer, vectors in enumerate(context):
        if layer:

            def swap(module, inputs, vectors=vectors):
                x = inputs[0].clone()
                x[:, place(x)] = vectors
                return (x, *inputs[1:])

            handles.append(blocks[layer].register_forward_pre_hook(swap))
    return handles


def test_deep_text_prompts_replace_the_outputs_at_their_places():
    backbone, context = make_backbone(), torch.randn(3, 2, 16, generator=torch.Generator().manual_seed(0))
    found = backbone.text.encode(backbone.text.lay(NAMES, TEMPLATES[:1], "a photo of a", 2), context)
    shallow = backbone.text.encode(backbone.text.lay(NAMES, TEMPLATES[:1], "a photo of a", 2), context[:1])
    assert not torch.allclose(found, shallow, atol=1e-3)
    clip, place = backbone.clip, lambda x: slice(1, 3)
    clip.token_embedding.register_forward_hook(
        lambda module, inputs, out: torch.cat([out[:, :1], context[0].expand(len(out), 2, 16), out[:, 3:]], 1)
    )
    deep_by_hooks(clip, clip.transformer.resblocks, context, place)
    expected = clip.encode_text(backbone.tokens([f"a photo of a {name}" for name in NAMES]))
    torch.testing.assert_close(found, F.normalize(expected, dim=1))


def test_deep_image_prompts_stand_behind_the_patches_in_every_layer():
    task, images = dressed(AdvVLP()), make_batch(3, SIDE).images
    image, tower = task.visual.prompts.image, task.tower
    assert image.shape == (2, 2, 16)
    found = task.visual(images)
    with torch.no_grad():
        tower.ln_pre.register_forward_pre_hook(
            lambda module, inputs: torch.cat([inputs[0], image[0].expand(len(inputs[0]), -1, -1)], 1)
        )
        handles = deep_by_hooks(tower, tower.transformer.resblocks, image, lambda x: slice(-2, None))
        torch.testing.assert_close(found, tower(images))
        handles[0].remove()
        assert not torch.allclose(found, tower(images), atol=1e-3)


@pytest.mark.parametrize(("method", "made"), [(AdvMaPLe(), "image"), (FAP(), "text")], ids=["maple", "fap"])
def test_the_other_side_is_a_linear_map_per_layer(method, made):
    task = dressed(method)
    prompts = task.visual.prompts
    own, found = (prompts.text, prompts.image_side()) if made == "image" else (prompts.image, prompts.text_side())
    assert getattr(prompts, made) is None
    for layer in range(2):
        for m in range(2):
            for o in range(16):
                value = prompts.bias[layer, o] + sum(prompts.weight[layer, o, i] * own[layer, m, i] for i in range(16))
                if made == "text" and layer == 0:
                    value = value + task.text.embed(torch.tensor(task.text.ids("a photo")[1:-1]))[m, o]
                assert value.item() == pytest.approx(found[layer, m, o].item(), abs=1e-5)


def test_no_vectors_leave_tecoa():
    learned, plain = dressed(AdvVLP(tokens=0)), make_task(TeCoA())
    plain.head = class_embeddings(make_backbone(), NAMES, TEMPLATES[:1])
    batch = make_batch(5, SIDE)
    one, other = AdvVLP(tokens=0).loss(learned, batch)[0], TeCoA().loss(plain, batch)[0]
    assert one.item() == pytest.approx(other.item(), rel=1e-6)


# -- losses ----------------------------------------------------------------------------------------------------------


class Sides:
    """Features and texts of student and teacher in float64, as lists; recomputed from a copy that may be changed."""

    def __init__(self, task: Task, batch, adversarial) -> None:
        self.task, self.labels = task, batch.labels.tolist()
        self.visual = copy.deepcopy(task.visual).double()
        self.text = TextTower(copy.deepcopy(task.text.clip).double(), lambda prompts: task.text._tokens(prompts))
        self.inputs = [task.normalise(images).double() for images in (batch.images, adversarial)]
        self.laid = Laid(task.extras["words"].double(), task.extras["ends"])

    def look(self) -> "Sides":
        with torch.no_grad():
            self.clean, self.adv = (self.visual(x).tolist() for x in self.inputs)
            self.texts = self.text.encode(self.laid, self.visual.prompts.text_side()).tolist()
            if hasattr(self.visual, "teacher"):
                teacher = self.visual.teacher
                features = self.visual.see(self.inputs[0], teacher).tolist()
                texts = self.text.encode(self.laid, teacher.text_side()).tolist()
            else:
                features = self.visual.visual(self.inputs[0]).tolist()
                texts = self.task.head.double().tolist()
            self.taught = [probabilities(f, texts, SCALE) for f in features]
        self.p_clean, self.p_adv = ([probabilities(f, self.texts, SCALE) for f in x] for x in (self.clean, self.adv))
        return copy.copy(self)

    def surprise(self, p) -> float:
        return mean(-math.log(row[y]) for row, y in zip(p, self.labels, strict=True))


def tecoa(now: Sides, held: Sides) -> float:
    return now.surprise(now.p_adv)


def fap(now: Sides, held: Sides, weight: float = 1.5) -> float:
    rows = zip(now.clean, now.adv, now.p_clean, now.p_adv, strict=True)
    return now.surprise(now.p_clean) + weight * mean((cosine(f, g) + 1) * kl_of(p, q) for f, g, p, q in rows)


def apd(now: Sides, held: Sides, label: float = 1.0, feedback: float = 0.0, online: bool = True) -> float:
    """The teacher is constant in the first line, the student in the last."""
    value = mean(kl_of(t, s) for t, s in zip(held.taught, now.p_adv, strict=True)) + label * now.surprise(now.p_adv)
    if online:
        value += now.surprise(now.taught)
        value += feedback * mean(kl_of(s, t) for s, t in zip(held.p_adv, now.taught, strict=True))
    return value


REFERENCES = {
    "apt": tecoa,
    "advtp": tecoa,
    "advmaple": tecoa,
    "advvlp": tecoa,
    "fap": fap,
    "apd": apd,
    "apd-feedback": lambda now, held: apd(now, held, label=0.0, feedback=0.7),
    "apd-offline": lambda now, held: apd(now, held, online=False),
}


def worked(name, monkeypatch):
    method = METHODS[name]
    task, batch = dressed(method), make_batch(5, SIDE)
    adversarial = (
        batch.images + 0.2 * torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(2))
    ).clamp(0, 1)
    fixed = Fixed(monkeypatch, adversarial)
    return method, task, batch, Sides(task, batch, adversarial), fixed


@pytest.mark.parametrize("name", REFERENCES)
def test_the_loss_is_the_formula_and_so_is_its_gradient(name, monkeypatch):
    method, task, batch, sides, _ = worked(name, monkeypatch)
    held = sides.look()
    loss, _ = method.loss(task, batch)
    assert loss.item() == pytest.approx(REFERENCES[name](held, held), rel=1e-5)
    loss.backward()
    twins = dict(sides.visual.named_parameters())
    for parameter_name, parameter in task.visual.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None
            continue
        grad = parameter.grad.flatten()
        place, h, values = int(grad.abs().argmax()), 1e-6, []
        twin = twins[parameter_name].data.view(-1)
        before = twin[place].item()
        for sign in (1, -1):
            twin[place] = before + sign * h
            values.append(REFERENCES[name](sides.look(), held))
        twin[place] = before
        slope = (values[0] - values[1]) / (2 * h)
        assert slope == pytest.approx(grad[place].item(), rel=2e-3, abs=1e-5), parameter_name


def test_directions_and_detachments_of_apd_would_show(monkeypatch):
    method, task, batch, sides, _ = worked("apd-feedback", monkeypatch)
    held = sides.look()
    loss = method.loss(task, batch)[0].item()
    pairs = list(zip(held.taught, held.p_adv, strict=True))
    forward, reverse = mean(kl_of(t, s) for t, s in pairs), mean(kl_of(s, t) for t, s in pairs)
    swapped = loss + reverse - forward + 0.7 * (forward - reverse)
    assert abs(swapped - loss) > 1e-3 * abs(loss)
    # without feedback the teacher learns from the labels alone, whatever the student does
    grads = []
    for label in (0.0, 5.0):
        task.visual.zero_grad()
        APD(label=label).loss(task, batch)[0].backward()
        grads.append([p.grad.clone() for p in task.visual.teacher.parameters()])
    task.visual.zero_grad()
    F.cross_entropy(method.teacher_logits(task, batch), batch.labels).backward()
    for one, other, alone in zip(*grads, [p.grad for p in task.visual.teacher.parameters()], strict=True):
        torch.testing.assert_close(one, alone)
        torch.testing.assert_close(other, alone)


def climbed(name, sides, task, features):
    if name == "fap":
        return [kl_of(p, probabilities(f, sides.texts, SCALE)) for p, f in zip(sides.p_clean, features, strict=True)]
    texts = task.head.double().tolist() if name == "apt-constant" else sides.texts
    return [-math.log(probabilities(f, texts, SCALE)[y]) for f, y in zip(features, sides.labels, strict=True)]


@each
def test_what_the_attack_climbs_with_constant_texts(name, monkeypatch):
    method, task, batch, sides, fixed = worked(name, monkeypatch)
    held = sides.look()
    features = torch.randn(5, 8, generator=torch.Generator().manual_seed(4))
    method.loss(task, batch)
    for objective in (fixed.objective, method.objective(task, batch)):
        found = objective(features)
        assert not found.requires_grad
        assert found.tolist() == pytest.approx(climbed(name, held, task, features.double().tolist()), rel=1e-4)


def test_fap_without_its_weight_learns_clean_images_alone():
    task, batch = dressed(FAP(weight=0.0)), make_batch(5, SIDE)
    loss, logged = FAP(weight=0.0).loss(task, batch)
    texts = FAP().texts(task)
    expected = F.cross_entropy(SCALE * F.normalize(task.features(batch.images), dim=1) @ texts.T, batch.labels)
    assert torch.equal(loss, expected)
    assert logged.keys() == {"accuracy"}


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

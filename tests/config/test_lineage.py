"""Models that come from models: what the plan makes of them, and every mistake as one line before anything runs."""

import copy

import pytest
from support.project import refused

from zsr.config import complete
from zsr.plan.plan import Plan
from zsr.results import collect

MIX = {"name": "mix", "interpolate": {"from": "clip", "to": "tecoa", "alpha": [0, 0.25, 1]}}
DUAL = {"name": "dual", "method": "dual-teacher", "teacher": "tecoa"}
AGAIN = {"name": "again", "method": "ce", "start": "tecoa"}
PROBE = {"name": "probe", "method": "linear-probe"}
BARE = {"name": "bare", "reader": "drawn", "options": {"view": "source"}, "splits": {"train": 64}}
UNLABELLED = {"name": "unlabelled", "like": "drawn-source", "labelled": False}


def source(name, method, **keys):
    return {"name": "m", "method": method, "recipe": {"dataset": name}, **keys}


def both(*models, data=()):
    def mutate(raw):
        raw["models"] += copy.deepcopy(list(models))
        raw["data"] += copy.deepcopy(list(data))

    return mutate


def mixing(**keys):
    return both({**MIX, "interpolate": {**MIX["interpolate"], **keys}})


MISTAKES = {
    "no method": (both({"name": "m"}), r"models\[3\] 'm': the key 'method' is missing"),
    "no teacher": (both({"name": "m", "method": "dual-teacher"}), "'dual-teacher' learns from a second model; name"),
    "unknown teacher": (both({**DUAL, "teacher": "tecao"}), r"models 'dual'\.teacher: unknown model 'tecao'; did you"),
    "its own teacher": (both({**DUAL, "teacher": "dual"}), r"'dual': comes from itself \(dual <- dual\)"),
    "teachers in a circle": (
        both({**DUAL, "teacher": "two"}, {**DUAL, "name": "two", "teacher": "dual"}),
        r"comes from itself \(dual <- two <- dual\)",
    ),
    "teacher through an interpolation of itself": (
        both(
            {**DUAL, "teacher": "loop-a50"},
            {"name": "loop", "interpolate": {"from": "clip", "to": "dual", "alpha": [0.5]}},
        ),
        r"comes from itself \(dual <- loop-a50 <- dual\)",
    ),
    "teacher of another architecture": (
        both({**DUAL, "teacher": "narrow"}, {"name": "narrow", "method": "tecoa", "backbones": ["rn"]}),
        r"models 'dual'\.teacher: 'narrow' is not made on backbone 'vit' \(only on rn\)",
    ),
    "teacher without use": (both({"name": "m", "method": "ce", "teacher": "tecoa"}), "'ce' takes no teacher; take out"),
    "teacher that is a probe": (both(PROBE, {**DUAL, "teacher": "probe"}), r"teacher: 'probe' is not zero-shot"),
    "start from an unknown model": (
        both({**AGAIN, "start": "tecao"}),
        r"'again'\.start: unknown model 'tecao'; did you",
    ),
    "start from itself": (both({**AGAIN, "start": "again"}), r"'again': comes from itself \(again <- again\)"),
    "start without training": (both({**AGAIN, "method": "clip"}), "'clip' does not train; take out `start`"),
    "start from prompts": (
        both({"name": "vp", "method": "vp-pixel"}, {**AGAIN, "start": "vp"}),
        r"'again'\.start: 'vp' \(vp-pixel\) adds tensors to its tower",
    ),
    "start and teacher": (both({**DUAL, "start": "tecoa"}), "'dual': a teacher and its student have one backbone"),
    "start of another architecture": (
        both({**AGAIN, "start": "narrow"}, {"name": "narrow", "method": "tecoa", "backbones": ["rn"]}),
        r"'again'\.start: 'narrow' is not made on backbone 'vit'",
    ),
    "teacher that starts elsewhere": (
        both(AGAIN, {**DUAL, "teacher": "again"}),
        r"'dual'\.teacher: 'again' starts from 'tecoa', so that it is no model of the backbone itself",
    ),
    "interpolation with one that starts elsewhere": (
        both(AGAIN, {**MIX, "interpolate": {"from": "clip", "to": "again", "alpha": [0.5]}}),
        r"'mix-a50'\.interpolate\.to: 'again' starts from 'tecoa'",
    ),
    "interpolation with a recipe": (
        both({**MIX, "recipe": {"lr": 1}}),
        r"models\[3\] 'mix': an interpolation .* 'recipe'",
    ),
    "interpolation with a method": (both({**MIX, "method": "ce"}), "an interpolation .* has no 'method'"),
    "interpolation of nothing": (mixing(to="tecao"), r"models 'mix-a0'\.interpolate\.to: unknown model 'tecao'"),
    "interpolation outside": (mixing(alpha=[1.5]), r"interpolate\.alpha\[0\]: 1\.5 is more than 1"),
    "interpolation too fine": (mixing(alpha=[0.125]), "0.125 is no whole percent"),
    "interpolation twice": (mixing(alpha=[0.5, 0.5]), "the name 'mix-a50' stands twice"),
    "interpolation named as a model": (
        both(MIX, {"name": "mix-a25", "method": "ce"}),
        "the name 'mix-a25' stands twice",
    ),
    "interpolation of other tensors": (
        both(
            {"name": "vp", "method": "vp-pixel"},
            {"name": "mix", "interpolate": {"from": "clip", "to": "vp", "alpha": [0.5]}},
        ),
        r"models 'mix-a50'\.interpolate: 'clip' \(clip\) and 'vp' \(vp-pixel\) have other tensors",
    ),
    "interpolation of other prompts": (
        both(
            {"name": "one", "method": "vp-pixel"},
            {"name": "two", "method": "vp-pixel", "settings": {"width": 3}},
            {"name": "mix", "interpolate": {"from": "one", "to": "two", "alpha": [0.5]}},
        ),
        "have other tensors than each other",
    ),
    "interpolation across architectures": (
        both(
            {"name": "one", "method": "ce", "backbones": ["rn"]},
            {"name": "two", "method": "ce", "backbones": ["vit"]},
            {"name": "mix", "interpolate": {"from": "one", "to": "two", "alpha": [0.5]}},
        ),
        "'one' and 'two' share no backbone; weights of another architecture do not fit",
    ),
    "interpolation on a backbone of one end": (
        both(
            {"name": "one", "method": "ce", "backbones": ["rn"]},
            {"name": "mix", "backbones": ["vit"], "interpolate": {"from": "clip", "to": "one", "alpha": [0.5]}},
        ),
        r"models 'mix-a50'\.interpolate\.to: 'one' is not made on backbone 'vit'",
    ),
    "shots above the split": (
        both(source("mini-source", "tecoa") | {"recipe": {"shots": 5}}),
        r"recipe\.shots: 5 of each of 60 classes .* at most 4",
    ),
    "shots below zero": (both({"name": "m", "method": "ce", "recipe": {"shots": -1}}), "shots: -1 is less than 0"),
    "shots and images": (
        both({"name": "m", "method": "ce", "recipe": {"shots": 1, "images": 9}}),
        "images and shots are both set",
    ),
    "shots without labels": (
        both(source("unlabelled", "fare") | {"recipe": {"dataset": "unlabelled", "shots": 1}}, data=[UNLABELLED]),
        r"shots: 'unlabelled' has no labels",
    ),
    "labels needed": (
        both(source("unlabelled", "tecoa"), data=[UNLABELLED]),
        "'tecoa' needs labels, the source dataset 'unlabelled' has none",
    ),
    "classes needed": (
        both(source("bare", "agft"), data=[BARE]),
        "'agft' compares images with class texts, .* 'bare' has no classes",
    ),
    "labels of a set to judge by": (
        lambda raw: (raw["data"].append(UNLABELLED), raw["protocols"][0]["datasets"].append("unlabelled")),
        r"protocols\[0\] 'mini': 'unlabelled' is not labelled",
    ),
    "probe without a set": (
        both(
            {**PROBE, "recipe": {"dataset": "digits"}},
            data=[{"name": "digits", "like": "drawn-shape", "splits": {"train": 64}}],
        ),
        "'linear-probe' is not zero-shot, and no protocol has a set with the classes of 'digits'",
    ),
    "probe of other classes": (
        both({**PROBE, "settings": {"classes": 3}}),
        "classes is 3, 'mini-source' has 60; leave it out",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mini, mistake):
    mutate, message = MISTAKES[mistake]
    mutate(mini)
    with refused(message):
        Plan(mini)


def jobs(plan, rule):
    return {job.wildcards["model"]: job for job in plan.jobs.values() if job.rule == rule and "model" in job.wildcards}


def test_a_teacher_is_the_model_of_the_same_backbone_and_seed(mini):
    mini["models"][1]["seeds"] = [1, 2]
    mini["models"].append({**DUAL, "seeds": [2, 7]})
    made = jobs(Plan(mini), "finetune")
    for backbone in ("rn", "vit"):
        for seed, taught_by in ((2, 2), (7, 1)):  # the teacher's first where it has not that seed
            assert made[f"{backbone}.dual.s{seed}"].needs["teacher"] is made[f"{backbone}.tecoa.s{taught_by}"]
    assert "teacher" not in made["rn.ce.s0"].needs
    assert "zsr/methods/tecoa.py" in made["rn.dual.s2"].spec["code"]["roots"]


def test_a_model_that_starts_from_another_is_made_on_that_ones_tower(mini):
    mini["models"][1]["seeds"] = [1, 2]
    mini["models"] += [{**AGAIN, "seeds": [2, 7]}, {"name": "third", "method": "fare", "start": "again", "seeds": [7]}]
    plan = Plan(mini)
    made = jobs(plan, "finetune")
    towers = {job.wildcards["tower"]: job for job in plan.jobs.values() if job.rule == "promote"}
    assert sorted(towers) == sorted(f"{b}.{m}" for b in ("rn", "vit") for m in ("tecoa.s1", "tecoa.s2", "again.s7"))
    for backbone in ("rn", "vit"):
        for seed, first in ((2, 2), (7, 1)):  # the first of tecoa's where it has not that seed
            job = made[f"{backbone}.again.s{seed}"]
            assert job.needs["backbone"] is towers[f"{backbone}.tecoa.s{first}"]
            assert job.needs["head"] is made[f"{backbone}.tecoa.s1"].needs["head"]  # the text tower is the backbone's
        third = towers[f"{backbone}.again.s7"]
        assert third.needs["backbone"] is towers[f"{backbone}.tecoa.s1"]
        assert made[f"{backbone}.third.s7"].needs["backbone"] is third
    for cell in plan.cells:
        assert cell.needs["backbone"] is cell.needs["model"].needs["backbone"]
    entries = plan.config.models
    assert entries["third"].seen_sets == ("mini-source",)


def test_a_set_that_the_first_tower_learnt_is_not_zero_shot_for_the_second(mini):
    mini["data"].append({"name": "digits", "like": "drawn-digits", "splits": {"train": 64}})
    mini["models"][1]["recipe"] = {"dataset": "digits"}
    mini["models"].append(AGAIN)
    entries = Plan(mini).config.models
    assert entries["again"].seen_sets == ("mini-source", "digits")


def test_examples_of_a_model_on_another_tower_come_with_that_tower(mini):
    mini["models"].append(AGAIN)
    mini["protocols"][0]["attacks"] = [{"name": "transfer", "attack": "transfer", "surrogate": "tecoa"}]
    cells = {cell.needs["model"].wildcards["model"]: cell for cell in Plan(mini).cells}
    assert "surrogate_backbone" not in cells["vit.ce.s0"].needs  # both on the backbone itself
    base = cells["vit.again.s0"].needs["surrogate_backbone"]
    assert base.rule == "pretrain" and cells["vit.again.s0"].needs["backbone"].rule == "promote"


def test_a_student_of_a_teacher_of_another_set_is_not_zero_shot_there(mini):
    mini["data"].append({"name": "digits", "like": "drawn-digits", "splits": {"train": 64}})
    mini["protocols"][0]["datasets"].append("digits")
    mini["models"][1]["recipe"] = {"dataset": "digits"}
    mini["models"] += [DUAL, MIX]
    plan = Plan(mini)
    entries = plan.config.models
    learnt = {name: collect.about(plan, entry, "digits")["is_source"] for name, entry in entries.items()}
    assert learnt == {
        "clip": False, "tecoa": True, "ce": False, "dual": True, "mix-a0": True, "mix-a25": True, "mix-a100": True,
    }  # fmt: skip
    assert collect.about(plan, entries["dual"], "mini-source")["is_source"]


def test_an_interpolation_is_one_model_per_alpha_with_the_seeds_of_its_end(mini):
    mini["models"][1]["seeds"] = [1, 2]
    mini["models"] += [MIX, {"name": "three", "interpolate": {"from": "mix-a25", "to": "ce", "alpha": [0.5]}}]
    plan = Plan(mini)
    made = jobs(plan, "interpolate")
    wanted = {f"{b}.mix.a{a}.s{s}" for b in ("rn", "vit") for a in (0, 25, 100) for s in (1, 2)}
    assert made.keys() == wanted | {"rn.three.a50.s0", "vit.three.a50.s0"}
    job = made["rn.mix.a25.s2"]
    assert job.needs["start"].wildcards == {"model": "rn.clip"} and job.spec["alpha"] == 0.25
    assert job.needs["end"].wildcards == {"model": "rn.tecoa.s2"}
    assert made["rn.three.a50.s0"].needs["start"] is made["rn.mix.a25.s1"]
    shown = {(asked.model.name, asked.model.method, asked.train_eps) for asked in plan.requests.values()}
    assert shown >= {("mix-a0", "interpolation", "4/255"), ("mix-a100", "interpolation", "4/255")}


def test_what_trains_on_clean_images_reports_no_radius(mini):
    mini["models"] = [
        {"name": "clip", "method": "clip"},
        {"name": "tecoa", "method": "tecoa", "eps": "2/255"},
        {"name": "ce", "method": "ce"},
        {"name": "ft", "method": "ft-clean"},
        {"name": "probe", "method": "linear-probe"},
        {"name": "vp", "method": "vp-pixel"},
        {"name": "vp-ce", "method": "vp-pixel", "settings": {"criterion": "ce"}},
        {"name": "clean-mix", "interpolate": {"from": "clip", "to": "ce", "alpha": [0.5]}},
        {"name": "mix", "interpolate": {"from": "ce", "to": "tecoa", "alpha": [0.5]}},
    ]
    found = {asked.model.name: asked.train_eps for asked in Plan(mini).requests.values()}
    assert found == {
        "clip": None, "tecoa": "2/255", "ce": "0", "ft": "0", "probe": "0", "vp": "4/255", "vp-ce": "0",
        "clean-mix-a50": "0", "mix-a50": "2/255",
    }  # fmt: skip


def test_prompts_of_one_method_mix_and_are_opened_by_it(mini):
    mini["models"] += [
        {"name": "vp", "method": "vp-pixel"},
        {"name": "strong", "method": "vp-pixel", "eps": "8/255"},
        {"name": "mix", "interpolate": {"from": "vp", "to": "strong", "alpha": [0.5]}},
    ]
    plan = Plan(mini)
    job = jobs(plan, "interpolate")["rn.mix.a50.s0"]
    assert job.spec["method"] == "vp-pixel" and job.spec["settings"]["criterion"] == "tecoa"
    assert {asked.train_eps for asked in plan.requests.values() if asked.model.name == "mix-a50"} == {"8/255"}


def test_a_probe_is_evaluated_on_the_sets_with_its_classes_alone(mini):
    mini["data"].append({"name": "digits", "like": "drawn-digits", "splits": {"train": 64}})
    mini["models"] += [PROBE, {**PROBE, "name": "probe-digits", "recipe": {"dataset": "digits"}}]
    plan = Plan(mini)
    seen = {name: set() for name in ("probe", "probe-digits")}
    for asked in plan.requests.values():
        if asked.model.name in seen:
            seen[asked.model.name].add(asked.dataset)
    assert seen == {"probe": {"mini-source"}, "probe-digits": {"handwritten-digits"}}
    assert plan.left_out == {
        "probe": ["drawn-colour", "handwritten-digits"], "probe-digits": ["drawn-colour", "mini-source"],
    }  # fmt: skip
    made = jobs(plan, "finetune")
    assert made["rn.probe.s0"].spec["settings"] == {"classes": 60}
    assert made["rn.probe-digits.s0"].spec["settings"] == {"classes": 10}
    entry = plan.config.models["probe-digits"]
    assert not collect.about(plan, entry, "handwritten-digits")["is_source"]  # it stays zero-shot for its neighbours


def test_without_classes_there_is_no_head_and_without_labels_the_spec_says_so(mini):
    both(source("bare", "fare"), {**source("unlabelled", "agft"), "name": "soft"}, data=[BARE, UNLABELLED])(mini)
    made = jobs(Plan(mini), "finetune")
    assert "head" not in made["rn.m.s0"].needs and made["rn.m.s0"].spec["labelled"] is False
    assert "head" in made["rn.soft.s0"].needs and made["rn.soft.s0"].spec["labelled"] is False
    assert made["rn.ce.s0"].spec["labelled"] is True


def test_completing_leaves_the_argument_alone(mini):
    both(MIX, DUAL, PROBE)(mini)
    before = copy.deepcopy(mini)
    assert list(complete.complete(mini).models)[3:6] == ["mix-a0", "mix-a25", "mix-a100"]
    assert mini == before

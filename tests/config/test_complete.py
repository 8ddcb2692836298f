"""Every mistake in a config is one line with the place and the cure."""

import copy
from fractions import Fraction

import pytest
from support.project import refused

from zsr import epsilon, registry
from zsr.config import complete as config


def put(value):
    """A mutation: set the value at a path of keys."""

    def at(*path):
        def mutate(raw):
            place = raw
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value

        return mutate

    return at


MISTAKES = {
    "unknown key": (put(1)("protocolls"), r"unknown key 'protocolls'; did you mean 'protocols'\?"),
    "unknown key deep": (put(1)("models", 0, "metod"), r"models\[0\]: unknown key 'metod'; did you mean 'method'\?"),
    "missing key": (lambda raw: raw.pop("models"), "the key 'models' is missing"),
    "wrong type": (put("many")("protocols", 0, "images"), r"images: 'many' is neither a number of images nor 'all'"),
    "unknown method": (put("tecoo")("models", 1, "method"), r"'tecoa': unknown method 'tecoo'; did you mean"),
    "unknown dataset": (put(["drawn-color"])("protocols", 0, "datasets"), "unknown dataset 'drawn-color'; did you"),
    "unknown attack": (put("pdg")("protocols", 0, "attacks", 0, "attack"), "unknown attack 'pdg'; did you mean"),
    "unknown backbone": (put(["vitt"])("models", 0, "backbones"), r"unknown backbone 'vitt'; did you mean 'vit'"),
    "unknown architecture": (put("drawn-rm")("backbones", 0, "arch"), r"unknown backbone architecture 'drawn-rm'"),
    "unknown attack setting": (put(3)("protocols", 0, "attacks", 0, "stepps"), "unknown setting 'stepps'; did you"),
    "unknown method setting": (put({"beta": 1})("models", 1, "settings"), "unknown setting 'beta'"),
    "setting of wrong type": (put("ten")("protocols", 0, "attacks", 0, "steps"), "steps: 'ten' is not of type int"),
    "unknown recipe key": (put(3)("finetune", "momentom"), r"unknown setting 'momentom'; did you mean 'momentum'"),
    "number below its range": (put(-3)("finetune", "epochs"), r"finetune\.epochs: -3\.0 is not above 0"),
    "no batch": (put(0)("finetune", "batch"), r"finetune\.batch: 0 is not above 0"),
    "negative clip": (put(-1)("finetune", "clip"), r"finetune\.clip: -1\.0 is less than 0"),
    "momentum of one": (put(1)("finetune", "momentum"), r"finetune\.momentum: 1\.0 is not below 1"),
    "not a number": (put(float("nan"))("finetune", "lr"), r"finetune\.lr: nan is not a number"),
    "no pretraining": (put(0)("backbones", 0, "pretrain", "steps"), r"pretrain\.steps: 0 is not above 0"),
    "unknown optimizer": (put("adam")("finetune", "optimizer"), "unknown value 'adam'; did you mean 'adamw'"),
    "unknown mode of norms": (put("Train")("finetune", "batchnorm"), "unknown value 'Train'; did you mean 'train'"),
    "unknown precision": (put("half")("finetune", "amp"), r"amp: unknown value 'half'; known: bf16, fp16, off"),
    "no restart": (put(0)("protocols", 0, "attacks", 0, "restarts"), r"attacks\[0\]: restarts is 0; it needs at least"),
    "no length": (put("eps/zero")("protocols", 0, "attacks", 0, "step_size"), r"step_size: 'eps/zero' is no length"),
    "ε zero": (put([0])("protocols", 0, "eps"), r"ε 0 is outside \(0, 1\]"),
    "ε above one": (put([2])("protocols", 0, "eps"), r"ε 2 is outside"),
    "ε negative": (put("-1/255")("finetune", "eps"), r"finetune\.eps: ε -1/255 is outside"),
    "ε not a number": (put("small")("finetune", "eps"), "ε 'small' is not a number"),
    "ε twice divided": (put("1/255/2")("finetune", "eps"), "ε '1/255/2' is not a number"),
    "ε twice": (put(["1/255", "2/510"])("protocols", 0, "eps"), "a value stands twice"),
    "empty models": (put([])("models"), "models: the list is empty"),
    "empty datasets": (put([])("protocols", 0, "datasets"), "the list is empty"),
    "empty attacks": (put([])("protocols", 0, "attacks"), "the list is empty"),
    "duplicate model": (lambda raw: raw["models"].append(raw["models"][0]), "the name 'clip' stands twice"),
    "source missing": (put("imagenat")("finetune", "dataset"), r"finetune\.dataset: unknown dataset 'imagenat'"),
    "too many images": (put(10**7)("protocols", 0, "images"), r"images: 10000000 is more than the \d+ of"),
    "unknown split": (put("tost")("protocols", 0, "split"), r"unknown split 'tost'"),
    "training of an untrained method": (put([1])("models", 0, "seeds"), "'clip' does not train"),
    "bad name": (put("../up")("models", 0, "name"), "does not have the form"),
    "tokens on a ResNet": (put({"name": "t", "method": "tga-zsr"})("models", 1), "needs a VisionTransformer, 'rn' is"),
    "duplicate class": (put([{"name": "drawn-colour", "classes": ["one", "one"]}])("data"), "stands twice"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mini, mistake):
    mutate, message = MISTAKES[mistake]
    mutate(mini)
    with refused(message):
        config.complete(mini)


CHOICES = {
    ("pmg-aft", "variant"): ("cod", "code"),
    ("simclip", "variant"): ("papers", "paper"),
    ("tga-zsr", "normalise"): ("token", "tokens"),
    ("apd", "teacher"): ("ofline", "offline"),
    ("apt", "perturb"): ("currant", "current"),
    ("vp-token", "criterion"): ("tekoa", "tecoa"),
}


@pytest.mark.parametrize(("method", "setting"), CHOICES)
def test_a_choice_that_a_method_does_not_have(mini, method, setting):
    given, near = CHOICES[method, setting]
    mini["models"].append({"name": "new", "method": method, "backbones": ["vit"], "settings": {setting: given}})
    with refused(rf"'new'.*\.{setting}: unknown value '{given}'; did you mean '{near}'"):
        config.complete(mini)


def test_off_is_what_yaml_reads_as_false(mini):
    mini["finetune"]["amp"] = False
    assert config.complete(mini).models["tecoa"].recipe["amp"] == "off"


def test_the_argument_is_left_alone_and_defaults_are_filled_in(mini):
    before = copy.deepcopy(mini)
    complete = config.complete(mini)
    assert mini == before
    pgd = complete.protocols["mini"].attacks[0]
    assert pgd.verdict == "any"
    assert complete.models["tecoa"].recipe["momentum"] == 0.9
    assert set(pgd.settings) == set(registry.describe("attacks", "pgd").settings)


@pytest.mark.parametrize(
    ("written", "value", "text"),
    [
        ("1/255", Fraction(1, 255), "1/255"),
        ("0.5/255", Fraction(1, 510), "0.5/255"),
        (" 8 / 255 ", Fraction(8, 255), "8/255"),
        (0.5, Fraction(1, 2), "127.5/255"),
        ("1/7", Fraction(1, 7), repr(1 / 7)),
    ],
)
def test_eps(written, value, text):
    assert epsilon.eps_of(written, "here") == value
    assert epsilon.eps_text(value) == text


def test_registry_reads_what_python_would(mini):
    """Settings read from syntax trees are those of the dataclasses themselves."""
    from dataclasses import fields

    for kind in ("attacks", "methods", "data/readers"):
        for name in registry.names(kind):
            loaded = {field.name: field.default for field in fields(registry.load(kind, name))}
            read = {key: setting.default for key, setting in registry.describe(kind, name).settings.items()}
            assert loaded == read, f"{kind}/{name}"


def test_what_anchors_share_is_completed_in_each_place(mini):
    """YAML gives the same object to `attacks: *these` in two protocols."""
    mini["protocols"].append({**mini["protocols"][0], "name": "second"})
    first, second = config.complete(mini).protocols.values()
    assert first.attacks == second.attacks and first.attacks is not second.attacks


def test_a_length_of_a_step_is_text_or_a_number(mini):
    mini["protocols"][0]["attacks"] = [
        {"name": f"pgd-{i}", "attack": "pgd", "step_size": size} for i, size in enumerate((0.01, "1/255", "eps/4", 1))
    ]
    found = [attack.settings["step_size"] for attack in config.complete(mini).protocols["mini"].attacks]
    assert found == [0.01, "1/255", "eps/4", 1]


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_balls_of_l2_and_l1_may_be_larger_than_the_box(mini, norm):
    mini["protocols"][0] |= {"norm": norm, "eps": [12, 0.5]}
    complete = config.complete(mini)
    assert [epsilon.eps_text(eps) for eps in complete.protocols["mini"].eps] == ["12", "127.5/255"]
    assert epsilon.eps_of("12", "here", norm) == 12

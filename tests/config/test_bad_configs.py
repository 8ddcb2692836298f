"""Texts of configs that are wrong, by small edits of the miniature: each is one line that names the place.

Beside them texts that look odd and are right, and files that are no text at all.
"""

from pathlib import Path

import pytest
import yaml
from support.project import MINI, ROOT, refused

from zsr.config import text as config_text
from zsr.plan.plan import Plan

TEXT = MINI.read_text(encoding="utf-8")
EPS, FINETUNE = "eps: [1/255, 4/255]", "finetune: {dataset: mini-source, "
CE, PGD = "{name: ce, method: ce}", "{name: pgd, attack: pgd, steps: 2}"
TECOA = "{name: tecoa, method: tecoa, recipe: {attack_steps: 2, warmup: 1}}"
PRETRAIN = "steps: 10, batch: 64, warmup: 3}}\n  - {name: vit"
MINE = "{name: mini-source, like: drawn-source, splits: {train: 256, test: 64}}"
DEEP = "[" * 500 + "]" * 500
LAUGHS = "".join(f"{a}: &{a} [{', '.join(['*' + b] * 9)}]\n" for b, a in zip("pqrstuvw", "qrstuvwx", strict=True))


def edited(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)


def added(line: str) -> str:
    return f"{TEXT}{line}\n"


def protocol(line: str) -> str:
    """One more key of the protocol, or another value for one it has."""
    key = line.partition(":")[0]
    lines = [one for one in TEXT.splitlines() if not one.startswith(f"    {key}:")]
    return "\n".join([*lines, f"    {line}", ""])


def attack(entry: str) -> str:
    return edited(PGD, entry)


def recipe(entry: str) -> str:
    return edited("lr: 0.001, warmup: 3}", f"lr: 0.001, {entry}}}")


def emptied(key: str, following: str) -> str:
    """A list of the config, with nothing after its key."""
    head, rest = TEXT.split(f"\n{key}:\n")
    return f"{head}\n{key}:\n{following}:\n" + rest.split(f"\n{following}:\n")[1]


def model(entry: str) -> str:
    return edited(CE, entry)


def data(entry: str) -> str:
    return edited(MINE, entry)


BAD = [
    # -- YAML that says something else than it seems to
    (added("finetune: {dataset: mini-source, eps: 8/255}"), r"'finetune' stands twice, in lines 8 and 22"),
    (recipe("warmup: 3, lr: 0.002"), r"'lr' stands twice, in lines 8 and 8"),
    (protocol("batch: 48\n    batch: 64"), r"'batch' stands twice, in lines 21 and 22"),
    (added('"models": []'), r"'models' stands twice"),
    (model("{name: ce, method: ce, name: cf}"), r"'name' stands twice"),
    (added("seed: 1:30"), r"line 22: YAML reads 1:30 as another number"),
    (added("seed: 010"), r"line 22: YAML reads 010 as another number"),
    (added("seed: 0x10"), r"line 22: YAML reads 0x10 as another number"),
    (recipe("clip: 1:30.5"), r"line 8: YAML reads 1:30.5 as another number"),
    (added("seed: " + "9" * 5000), r"line 22: 9+… cannot be read"),
    (data("{name: mini-source, like: drawn-source, options: {view: 2024-01-01}}"), r"data\[1\]\.options\.view: .*date"),
    (data("{name: mini-source, like: drawn-source, about: 2024-13-45}"), r"line 4: 2024-13-45 cannot be read"),
    (added("report: {title: 2024-01-01 10:00:00}"), r"report\.title: .* as a datetime"),
    (added("report: {title: !!python/tuple [1]}"), r"not YAML: line 22: the tag"),
    (added("report: {title: !!binary aGFsbG8=}"), r"line 22: the tag"),
    (added("report: {title: !!bool maybe}"), r"line 22: the tag"),
    (added("report: !!set {a, b}"), r"line 22: the tag"),
    (added("__use_yte__: true"), r"__use_yte__: a config of zsr is no template"),
    (edited("models:\n", "models: &m\n  - *m\n"), r"\*m stands inside of what it repeats"),
    (added("report: &r {title: *r}"), r"line 22: \*r stands inside"),
    (added("p: &p [1]\n" + LAUGHS), r"the config holds more than 1,000,000 values"),
    (added(f"report: {{title: {DEEP}}}"), r"line 22: more than 30 lists"),
    (added("report: {title: " + "{a: " * 100 + "1" + "}" * 101), r"line 22: more than 30 lists"),
    (added("seed: .inf"), r"^seed: inf is not a number"),
    (added("threads: .nan"), r"^threads: nan is not a number"),
    (recipe("clip: -.inf"), r"finetune\.clip: -inf is not"),
    (attack("{name: pgd, attack: pgd, share: .nan}"), r"protocols\[0\]\.attacks\[0\]\.share: nan"),
    (protocol("eps: [.inf]"), r"protocols\[0\]\.eps\[0\]: inf"),
    (added("3: 4"), r"^config: the key 3 is no text"),
    (added("yes: 4"), r"^config: the key True is no text"),
    (added("~: 4"), r"^config: the key None is no text"),
    (model("{name: ce, method: ce, 3: 4, b: 5}"), r"models\[2\]: the key 3 is no text"),
    (data("{name: mini-source, like: drawn-source, options: {1: 2, a: b}}"), r"data\[1\]\.options: the key 1"),
    (added("? [a, b]\n: c"), r"not YAML: .*unhashable key"),
    (added('report: {title: "a\\0b"}'), r"report\.title: .* no file can hold"),
    (added('report: {title: "\\ud800"}'), r"report\.title: .* no file can hold"),
    (added(f"report: {{title: {'a' * 200_000}}}"), r"report\.title: a text of 200,000"),
    (added(f"report: {{title: {'a' * 600}}}"), r"report\.title: .* is longer than 500"),
    (f"{TEXT}---\n{TEXT}", r"not YAML: expected a single document"),
    (added("\treport: {}"), r"not YAML"),
    (added("report: {title: [}"), r"not YAML"),
    (added("report: *gone"), r"not YAML: found undefined alias"),
    ("- a\n- b\n", r"a config is a mapping"),
    ("hello", r"a config is a mapping"),
    ("~", r"empty; a config is a mapping"),
    ("# nothing\n", r"empty; a config is a mapping"),
    ("{}", r"^config: the key 'backbones' is missing"),
    # -- values of another kind
    (added("images: 24"), r"^config: unknown key 'images'"),
    (added("seed: 1.0"), r"^seed: 1\.0 is not of type integer"),
    (added("seed: true"), r"^seed: True is not of type integer"),
    (added("seed: '1'"), r"^seed: '1' is not of type integer"),
    (added("seed: -1"), r"^seed: -1 is less than 0"),
    (added(f"seed: {2**64}"), r"^seed: \d+ is more than"),
    (added("seed: null"), r"^seed: None is not of type integer"),
    (added("threads: 0"), r"^threads: 0 is less than 1"),
    (added("threads: 1000000"), r"^threads: 1000000 is more than 1024"),
    (added("cells_per_gpu: 1000000"), r"^cells_per_gpu: 1000000 is more"),
    (added("decoded_gigabytes: -1"), r"^decoded_gigabytes: -1 is less"),
    (added("device: gpu"), r"^device: unknown value 'gpu'; did you mean 'cpu'"),
    (added("device: [cuda]"), r"^device: unknown value"),
    (added("kernels: true"), r"^kernels: unknown value 'True'"),
    (added("download: 1"), r"^download: 1 is not of type boolean"),
    (added("results: 3"), r"^results: 3 is not of type string"),
    (added("results: zsr"), r"^results: .*/zsr holds files that zsr did not make"),
    (added("report: title"), r"^report: 'title' is not of type object"),
    (added("report: {title: 3}"), r"^report\.title: 3 is not of type string"),
    (added("report: null"), r"^report: None is not of type object"),
    (protocol("images: 24.0"), r"protocols\[0\]\.images: 24\.0 is not of type integer"),
    (protocol("images: true"), r"protocols\[0\]\.images: True is not"),
    (protocol("images: 0"), r"protocols\[0\]\.images: 0 is less than 1"),
    (protocol("images: some"), r"'mini'\.images: 'some' is neither"),
    (protocol("images: 1000000000000"), r"'mini': images: 1000000000000 is more than"),
    (protocol("batch: 1000000000000"), r"protocols\[0\]\.batch: 1000000000000 is more than 1000000"),
    (protocol("batch: 48.0"), r"protocols\[0\]\.batch: 48\.0 is not of type integer"),
    (protocol("shards: 1000000"), r"protocols\[0\]\.shards: 1000000 is more than 1000"),
    (protocol("shards: 100"), r"'mini': 100 shards of 48 images"),
    (protocol("store: many"), r"'mini'\.store: 'many' is neither"),
    (protocol("store: 0"), r"'mini'\.store: '0' is neither"),
    (protocol("worst_case: 'yes'"), r"protocols\[0\]\.worst_case: 'yes' is not of type boolean"),
    (protocol("norm: l3"), r"protocols\[0\]\.norm: unknown value 'l3'"),
    (protocol("transform: 224-cubic"), r"'mini'\.transform .*unknown transform"),
    (protocol("transform: 9999"), r"protocols\[0\]\.transform: 9999 is not of type string"),
    (protocol("datasets: mini-source"), r"protocols\[0\]\.datasets: 'mini-source' is not of type array"),
    (protocol("datasets: {mini-source: 1}"), r"protocols\[0\]\.datasets: .* is not of type array"),
    (protocol("datasets: [mini-source, mini-source]"), r"protocols\[0\]\.datasets: an entry stands twice"),
    (protocol("datasets: null"), r"protocols\[0\]\.datasets: None is not of type array"),
    (protocol("attacks: null"), r"protocols\[0\]\.attacks: None is not of type array"),
    (protocol("like: mine"), r"protocols\[0\]\.like: unknown protocol 'mine'"),
    (protocol("like: [zsr]"), r"protocols\[0\]\.like: unknown protocol"),
    (emptied("data", "backbones"), r"^data: None is not of type array"),
    # -- ε
    (protocol("eps: []"), r"protocols\[0\]\.eps: the list is empty"),
    (protocol("eps: 1/255"), r"protocols\[0\]\.eps: '1/255' is not of type array"),
    (protocol("eps: [1/0]"), r"'mini'\.eps\[0\]: ε '1/0' is not a number"),
    (protocol("eps: [1e-400]"), r"'mini'\.eps\[0\]: ε 1e-400 is outside"),
    (protocol("eps: [1e-9999]"), r"'mini'\.eps\[0\]: ε '1e-9999' is not a number"),
    (protocol("eps: ['1e999999999']"), r"'mini'\.eps\[0\]: ε '1e999999999' is not a number"),
    (protocol("eps: [1.5]"), r"'mini'\.eps\[0\]: ε 1\.5 is outside \(0, 1\]"),
    (protocol("eps: [8_255]"), r"'mini'\.eps\[0\]: ε 8255 is outside"),
    (protocol("eps: [true]"), r"protocols\[0\]\.eps\[0\]: True is not of type"),
    (protocol("eps: ['１/255']"), r"'mini'\.eps\[0\]: ε '１/255' is not a number"),
    (protocol("eps: [1/255/2]"), r"'mini'\.eps\[0\]: ε '1/255/2' is not a number"),
    (protocol("eps: [0x1]"), r"YAML reads 0x1 as another number"),
    (protocol("norm: l2\n    eps: [1e12]").replace(f"    {EPS}\n", ""), r"'mini'\.eps\[0\]: ε 1e12 is outside"),
    (protocol("eps: [1/7, 0.14285714285714285]"), r"'mini'\.eps: a value stands twice"),
    (edited(FINETUNE + "eps: 4/255", FINETUNE + "eps: 2"), r"finetune\.eps: ε 2 is outside \(0, 1\]"),
    (edited(FINETUNE + "eps: 4/255", FINETUNE + "eps: [4/255]"), r"finetune\.eps: .* is not of type"),
    (model("{name: ce, method: ce, eps: 1/0}"), r"'ce'\.eps: ε '1/0' is not a number"),
    # -- recipes and settings
    (recipe("clip: -1"), r"finetune\.clip: -1\.0 is less than 0"),
    (recipe("clip: 1/0"), r"finetune\.clip: '1/0' is not of type float"),
    (recipe("clip: 1e999"), r"finetune\.clip: inf is more than"),
    (recipe("warmup: 3.0"), r"finetune\.warmup: 3\.0 is not of type int"),
    (recipe("warmup: true"), r"finetune\.warmup: True is not of type int"),
    (recipe("warmup: [3]"), r"finetune\.warmup: \[3\] is not of type int"),
    (recipe("momentum: 1"), r"finetune\.momentum: 1\.0 is not below 1"),
    (recipe("processes: 3"), r"finetune\.processes: a batch of 64 cannot"),
    (recipe("processes: 0"), r"finetune\.processes: 0 is not above 0"),
    (recipe("shots: 3, images: 4"), r"finetune: images and shots are both set"),
    (recipe("attack_alpha: -1"), r"finetune\.attack_alpha: -1\.0 is less than 0"),
    (recipe("amp: 16"), r"finetune\.amp: unknown value '16'"),
    (recipe("amp: true"), r"finetune\.amp: unknown value 'True'"),
    (edited("epochs: 1, batch: 64", "epochs: 1, batch: 1000000000000"), r"finetune\.batch: 1000000000000 is more than"),
    (edited("epochs: 1, ", "epochs: 0, "), r"finetune\.epochs: 0\.0 is not above 0"),
    (edited(PRETRAIN, PRETRAIN.replace("10", "1000000000000000")), r"'rn'\.pretrain\.steps: 10+ is more than"),
    (edited(PRETRAIN, PRETRAIN.replace("10", "10.0")), r"'rn'\.pretrain\.steps: 10\.0 is not of type int"),
    (attack("{name: pgd, attack: pgd, steps: 1000000000000000}"), r"attacks\[0\] \(pgd\)\.steps: 10+ is more than"),
    (attack("{name: pgd, attack: pgd, steps: 2.0}"), r"attacks\[0\] \(pgd\)\.steps: 2\.0 is not of type int"),
    (attack("{name: pgd, attack: pgd, share: 2}"), r"attacks\[0\] \(pgd\)\.share: 2\.0 is more than 1"),
    (attack("{name: pgd, attack: pgd, momentum: -1}"), r"attacks\[0\] \(pgd\)\.momentum: -1\.0 is less"),
    (attack("{name: pgd, attack: pgd, step_size: eps/0}"), r"attacks\[0\]\.step_size: 'eps/0' is no length"),
    (attack("{name: pgd, attack: pgd, step_size: 1/1e-999}"), r"attacks\[0\]\.step_size: '1/1e-999' is no length"),
    (attack("{name: pgd, attack: pgd, step_size: 1e999}"), r"attacks\[0\]\.step_size: '1e999' is no length"),
    (attack("{name: pgd, attack: pgd, step_size: true}"), r"attacks\[0\] \(pgd\)\.step_size: True is not"),
    (attack("{name: pgd, attack: pgd, random_start: 1}"), r"attacks\[0\] \(pgd\)\.random_start: 1 is not of type bool"),
    (attack("{name: pgd, attack: [pgd]}"), r"attacks\[0\]\.attack: \['pgd'\] is not of type string"),
    (attack("{name: pgd, attack: pgd, after: pgd-long}"), r"attacks\[0\]\.after: 'pgd-long' stands further down"),
    (attack("{name: square, attack: square, p_init: 5}"), r"attacks\[0\] \(square\)\.p_init: 5\.0 is more than 1"),
    (model("{name: caw, method: caw, settings: {alpha: -1}}"), r"'caw' \(caw\)\.alpha: -1\.0 is less than 0"),
    (model("{name: caw, method: caw, settings: {alpha: a}}"), r"'caw' \(caw\)\.alpha: 'a' is not of type float"),
    (model("{name: caw, method: caw, settings: {alpha: 1e-999/0}}"), r"\(caw\)\.alpha: '1e-999/0' is not of type"),
    (model("{name: caw, method: caw, settings: [alpha]}"), r"models\[2\]\.settings: \['alpha'\] is not of type object"),
    (model("{name: caw, method: caw, settings: null}"), r"models\[2\]\.settings: None is not of type object"),
    (model("{name: u, method: ucat, settings: {temperature: 0}}"), r"\(ucat\)\.temperature: 0\.0 is not above 0"),
    (model("{name: c, method: comp-tga, settings: {template: none}}"), r"'c'\.settings\.template: 'none' has no place"),
    (model("{name: p, method: tecoa-partial, settings: {tensors: 0}}"), r"tensors: 0 is not above 0"),
    (edited(TECOA, "{name: tecoa, method: tecoa, recipe: {dataset: [a]}}"), r"models\[1\]\.recipe\.dataset: \['a'\]"),
    (edited(TECOA, "{name: tecoa, method: tecoa, recipe: {transform: 3}}"), r"recipe\.transform: 3 is not"),
    (edited(TECOA, "{name: tecoa, method: tecoa, recipe: null}"), r"models\[1\]\.recipe: None is not of type object"),
    (edited(TECOA, "{name: tecoa, method: tecoa, seeds: []}"), r"models\[1\]\.seeds: the list is empty"),
    (edited(TECOA, "{name: tecoa, method: tecoa, seeds: 0}"), r"models\[1\]\.seeds: 0 is not of type array"),
    (edited(TECOA, "{name: tecoa, method: tecoa, seeds: [-1]}"), r"models\[1\]\.seeds\[0\]: -1 is less than 0"),
    (edited(TECOA, f"{{name: tecoa, method: tecoa, seeds: [{2**64}]}}"), r"models\[1\]\.seeds\[0\]: \d+ is more than"),
    (edited(TECOA, "{name: tecoa, method: tecoa, seeds: [1.0]}"), r"models\[1\]\.seeds\[0\]: 1\.0 is not of type"),
    (edited(TECOA, "{name: tecoa, method: tecoa, seeds: [1, 1]}"), r"models\[1\]\.seeds: an entry stands twice"),
    (model("{name: m, interpolate: {from: clip, to: tecoa, alpha: [2]}}"), r"\.alpha\[0\]: 2 is more than 1"),
    (model("{name: m, interpolate: {from: clip, to: tecoa, alpha: [-0.1]}}"), r"alpha\[0\]: -0\.1 is less than 0"),
    (model("{name: m, interpolate: {from: clip, to: tecoa, alpha: 0.5}}"), r"interpolate\.alpha: 0\.5 is not of type"),
    (model("{name: m, interpolate: {from: clip, to: tecoa, alpha: [0.123]}}"), r"0\.123 is no whole percent"),
    # -- names
    (model('{name: "", method: ce}'), r"models\[2\]\.name: '' does not have the form"),
    (model("{name: a/b, method: ce}"), r"models\[2\]\.name: 'a/b' does not have"),
    (model("{name: .ce, method: ce}"), r"models\[2\]\.name: '\.ce' does not have"),
    (model('{name: "c\\ne", method: ce}'), r"models\[2\]\.name: 'c\\ne' does not have"),
    (model("{name: сe, method: ce}"), r"models\[2\]\.name: 'сe' does not have"),
    (model("{name: ce, method: сe}"), r"unknown method 'сe'"),
    (model('{name: ce, method: "c\\ne"}'), r"unknown method 'c\\ne'"),
    (model("{name: 3, method: ce}"), r"models\[2\]\.name: 3 is not of type string"),
    (model("{name: null, method: ce}"), r"models\[2\]\.name: None is not of type string"),
    (model("{name: [ce], method: ce}"), r"models\[2\]\.name: \['ce'\] is not of type string"),
    (model(f"{{name: {'c' * 61}, method: ce}}"), r"models\[2\]\.name: 'c+' is longer than 60"),
    (model("{name: clip, method: ce}"), r"models: the name 'clip' stands twice"),
    (model("ce"), r"models\[2\]: 'ce' is not of type object"),
    (model("null"), r"models\[2\]: None is not of type object"),
    (emptied("models", "protocols"), r"^models: None is not of type array"),
    # -- datasets
    (data("{name: mini-source, like: drawn-source, splits: {train: 256.0}}"), r"\.splits\.train: 256\.0 is not"),
    (data("{name: mini-source, like: drawn-source, splits: {train: 0}}"), r"\.splits\.train: 0 is less than 1"),
    (data("{name: mini-source, like: drawn-source, splits: {a/b: 3}}"), r"data\[1\]\.splits.*'a/b'"),
    (data("{name: mini-source, like: drawn-source, size: big}"), r"'mini-source'\.size: 'big' is neither"),
    (data("{name: mini-source, like: drawn-source, size: -3}"), r"'mini-source'\.size: '-3' is neither"),
    (data("{name: mini-source, like: drawn-source, classes: []}"), r"data\[1\]\.classes: the list is empty"),
    (data("{name: mini-source, like: drawn-source, classes: [' ']}"), r"data\[1\]\.classes\[0\]: ' ' does not"),
    (data("{name: mini-source, like: drawn-source, templates: [no place]}"), r"data\[1\]\.templates\[0\]: 'no place'"),
    (data("{name: mini-source, like: drawn-source, options: {noise: -4}}"), r"\(drawn\)\.noise: -4 is less than 0"),
    (data("{name: mini-source, like: drawn-source, options: {contrast: [1]}}"), r"\(drawn\)\.contrast: \[1\] is not"),
    (data("{name: mini-source, like: drawn-source, options: {contrast: [0, 9]}}"), r"\.contrast: 9 is more than 1"),
    (data("{name: mini-source, like: drawn-source, files: [{path: 3}]}"), r"data\[1\]\.files\[0\]\.path: 3 is not"),
    (data("{name: mini-source, like: drawn-source, transforms: {tecoa: x}}"), r"transforms\.tecoa: unknown transform"),
    (data("{name: mini-source, like: drawn-source, encoded: [gone]}"), r"'mini-source'\.encoded: unknown split 'gone'"),
    (data("{name: mini-source, like: drawn-source, half: old}"), r"data\[1\]\.half: unknown value 'old'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_config_is_one_line(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with refused(message.replace("^", r"^(?:.*config\.yaml: )?")):
        Plan(config_text.read(path))


GOOD = [
    recipe("clip: 1e-3"),
    recipe("clip: '1/255'"),
    recipe("clip: .5"),
    recipe("clip: 1"),
    recipe("amp: off"),
    protocol("eps: [1/255, 0.5/255, 0.01, '1e-3', ' 8 / 255 ', 1e-5]"),
    protocol("norm: l2\n    eps: [12, 0.5]").replace(f"    {EPS}\n", ""),
    protocol("images: all"),
    protocol("store: 3"),
    attack("{name: pgd, attack: pgd, step_size: 2*eps}"),
    attack("{name: pgd, attack: pgd, step_size: eps/4}"),
    attack("{name: pgd, attack: pgd, step_size: 1}"),
    attack("{name: pgd, attack: pgd, step_size: 1e-3}"),
    edited(TECOA, f"{{name: tecoa, method: tecoa, seeds: [0, {2**63 - 1}]}}"),
    edited(TECOA, "&t {name: tecoa, method: tecoa}").replace(CE, "{<<: *t, name: ce}"),
    edited(TECOA, "{name: 1e-3, method: tecoa}"),
    model("{name: caw, method: caw, settings: {alpha: 0, beta: '1/3'}}"),
    data("{name: mini-source, like: drawn-source, options: {contrast: [0, 1]}, about: '2024-01-01'}"),
    added("seed: 1_000"),
    added("report: {title: 'Ünïcödé ✓ <b> {x} $Y'}"),
    added("report: {title: !!str 3}"),
    "\ufeff" + TEXT,
    TEXT.replace("\n", "\r\n"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_looks_odd_and_is_right(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    assert Plan(config_text.read(path)).cells


def test_json_is_read_as_snakemake_reads_it(tmp_path):
    """There 1e-3 is a number, and the tables' spec holds the config as it is read."""
    path = tmp_path / "config.yaml"
    path.write_text('{"seed": 1e3, "a": [1.5]}', encoding="utf-8")
    assert config_text.read(path) == {"seed": 1000.0, "a": [1.5]}
    path.write_text('{"a": 1,\n "a": 2}', encoding="utf-8")
    with refused("'a' stands twice, in lines 1 and 2"):
        config_text.read(path)


FILES = {
    "missing": (None, "no such config file"),
    "empty": (b"", "empty; a config is a mapping"),
    "binary": (bytes(range(256)), r"not UTF-8 text \(byte 129 is 0x80\)"),
    "latin-1": ("title: Zürich".encode("latin-1"), "not UTF-8 text"),
    "utf-16": (TEXT.encode("utf-16"), r"not UTF-8 text \(byte 1 is 0xff\)"),
    "nul": (b"a: \x00", "not YAML"),
    "folder": ("folder", "cannot be read as a config file"),
}


@pytest.fixture(params=FILES)
def no_config(request, tmp_path) -> tuple[Path, str]:
    content, message = FILES[request.param]
    path = tmp_path / "config.yaml"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    return path, message


def test_a_file_that_is_no_config(no_config):
    path, message = no_config
    with refused(rf"config\.yaml: {message}"):
        config_text.read(path)


def test_every_config_that_ships_is_read_as_before():
    for path in [ROOT / "config.yaml", MINI, *(ROOT / "config").glob("*.yaml")]:
        assert config_text.read(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


# -- through Snakemake, which reads the file by itself too ------------------------------------------------------------

DOUBLED = added("finetune: {dataset: mini-source, eps: 8/255}")


@pytest.mark.slow
@pytest.mark.parametrize("given", [(), ("--configfile", "config.yaml")])
def test_snakemake_refuses_a_key_that_stands_twice(project, given):
    project.path("config.yaml").write_text(DOUBLED, encoding="utf-8")
    said = project.snakemake("-n", *given, code=1)
    assert "config.yaml: the key 'finetune' stands twice, in lines 8 and 22; take one out" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_snakemake_s_default_config_is_read_first_by_zsr(project):
    """Without --configfile; a file that is named there Snakemake opens before any line of the Snakefile."""
    for content, message in FILES.values():
        path = project.path("config.yaml")
        path.unlink(missing_ok=True)
        if content is None:
            continue
        path.mkdir() if content == "folder" else path.write_bytes(content)
        said = project.snakemake("-n", code=1)
        assert "config.yaml: " in said and "Traceback" not in said, said
        assert message.partition(r"\(")[0].strip() in said
        if path.is_dir():
            path.rmdir()

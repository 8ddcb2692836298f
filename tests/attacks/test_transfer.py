"""Examples made on another model of the config: what the plan makes of `surrogate`, its mistakes, and a run of it."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support.project import refused

from zsr.attacks import Normalized, attack
from zsr.config import complete
from zsr.evaluation import cell as evaluate
from zsr.plan.plan import Plan
from zsr.report.tables import alarms
from zsr.results import models

TRANSFER = {"name": "transfer", "attack": "transfer", "surrogate": "tecoa", "steps": 3}


def attacks(*entries):
    def mutate(raw):
        raw["protocols"][0]["attacks"] = list(entries)

    return mutate


def with_model(model, **changes):
    def mutate(raw):
        raw["models"].append(model)
        raw["protocols"][0]["attacks"] = [TRANSFER | changes]

    return mutate


MISTAKES = {
    "no surrogate": (
        attacks({"name": "t", "attack": "transfer"}),
        r"attacks\[0\]: 'transfer' makes its examples on a second model; name one of the config as `surrogate`",
    ),
    "unknown surrogate": (
        attacks(TRANSFER | {"surrogate": "tecao"}),
        r"surrogate: unknown model 'tecao'; did you mean 'tecoa'",
    ),
    "a surrogate without use": (
        attacks({"name": "pgd", "attack": "pgd", "surrogate": "tecoa"}),
        "'pgd' makes its examples on the model under attack; take out `surrogate`",
    ),
    "a surrogate that is a probe": (
        with_model({"name": "probe", "method": "linear-probe"}, surrogate="probe"),
        r"attacks\[0\]\.surrogate: 'probe' is not zero-shot",
    ),
    "a surrogate of another architecture": (
        with_model({"name": "narrow", "method": "ce", "backbones": ["rn"]}, surrogate="narrow"),
        r"surrogate: 'narrow' is not made on backbone 'vit', on which 'clip' is attacked",
    ),
    "the last iterate": (attacks(TRANSFER | {"verdict": "last"}), "'transfer' has no last iterate"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(mini, mistake):
    mutate, message = MISTAKES[mistake]
    mutate(mini)
    with refused(message):
        complete.complete(mini)


def test_the_source_is_the_model_of_the_same_backbone_and_seed(mini):
    before = {job.record: job.text for job in Plan(mini).cells}
    mini["protocols"][0]["attacks"].append(TRANSFER)
    assert {job.record: job.text for job in Plan(mini).cells if job.needs.keys().isdisjoint({"surrogate"})} == before
    mini["models"][1]["seeds"] = [1, 2]
    mini["models"][2]["seeds"] = [2, 7]
    cells = {tuple(job.wildcards.values())[1:4]: job for job in Plan(mini).cells}
    for backbone in ("rn", "vit"):
        for model, made_on in (("ce.s2", 2), ("ce.s7", 1), ("clip", 1), ("tecoa.s2", 2)):  # its first where it lacks it
            cell = cells[f"{backbone}.{model}", "drawn-colour", "transfer"]
            assert cell.needs["surrogate"].wildcards == {"model": f"{backbone}.tecoa.s{made_on}"}
            assert cell.needs["surrogate_head"] is cells[f"{backbone}.{model}", "drawn-colour", "pgd"].needs["head"]
            assert cell.spec["needs"]["surrogate"] == cell.needs["surrogate"].hash
            assert "surrogate" not in cell.spec["settings"] and cell.spec["settings"]["steps"] == 3
            assert "zsr/methods/tecoa.py" in cell.spec["code"]["roots"]


def test_a_source_with_texts_of_its_own_brings_them(mini):
    mini["models"].append({"name": "prompts", "method": "apt", "settings": {"tokens": 2}})
    mini["protocols"][0]["attacks"] = [TRANSFER | {"surrogate": "prompts"}]
    cell = next(job for job in Plan(mini).cells if job.wildcards["model"] == "rn.clip")
    assert cell.needs["surrogate_head"].rule == "texts" and cell.needs["head"].rule == "heads"


def test_it_is_a_black_box_to_the_alarms():
    assert "transfer" in alarms.BLACK_BOX


@pytest.mark.slow
def test_the_workflow_makes_the_examples_on_the_source(project):
    """In one piece against a call of the attack by hand; in shards, which take their surrogate along."""
    raw = project.config
    raw["backbones"] = [raw["backbones"][0] | {"pretrain": {**raw["backbones"][0]["pretrain"], "steps": 40}}]
    raw["models"] = raw["models"][:2]
    own = {"datasets": ["drawn-colour"], "attacks": [TRANSFER], "eps": ["16/255"]}
    raw["protocols"] = [raw["protocols"][0] | own, raw["protocols"][0] | own | {"name": "two", "shards": 2}]
    project.configure(raw)
    plan = Plan(raw)
    cells = {(job.wildcards["protocol"], job.wildcards["model"]): job for job in plan.cells}
    wanted = {key: job for key, job in cells.items() if key[1] == "rn.clip"}
    project.snakemake(*[f"results/{job.record}" for job in wanted.values()])
    plan.results = project.path("results")

    cell = wanted["mini", "rn.clip"]
    rows = pq.read_table(project.path(f"results/{cell.outputs['rows']}")).to_pydict()
    backbone, method = models.model(plan, cell.needs["model"])
    net = models.zero_shot(plan, cell, (backbone, method))
    other = models.model(plan, cell.needs["surrogate"])
    made_on = evaluate.network(*other, models.head(plan, cell.needs["surrogate_head"])).eval()
    images = np.load(project.path(f"results/{cell.needs['data'].outputs['images']}"))[rows["index"]]
    inlet = backbone.mean, backbone.std
    torch.set_num_threads(1)
    verdicts = {
        surrogate: attack(
            Normalized(net, *inlet), torch.from_numpy(images), torch.tensor(rows["label"]), "transfer", eps=16 / 255,
            index=torch.tensor(rows["index"]), batch_size=48, steps=3, surrogate=Normalized(surrogate, *inlet),
        )
        for surrogate in (made_on, net)
    }  # fmt: skip
    right = verdicts[net].clean == torch.tensor(rows["label"])
    assert int(right.sum()) >= 5, "too few images to tell by"
    assert rows["robust"] == verdicts[made_on].robust.tolist()
    torch.testing.assert_close(torch.tensor(rows["margin"]), verdicts[made_on].margin, rtol=1e-4, atol=1e-5)
    other = (verdicts[made_on].margin - verdicts[net].margin).abs()[right]
    assert int((other > 1e-3).sum()) >= 3, "the examples are those of the model itself"
    record = json.loads(project.path(f"results/{cell.record}").read_text(encoding="utf-8"))
    assert record["passes"]["backward"] == verdicts[made_on].passes.backward
    assert any("passes on the surrogate model" in note for note in record["notes"])
    halves = pq.read_table(project.path(f"results/{wanted['two', 'rn.clip'].outputs['rows']}")).to_pydict()
    assert np.mean(np.array(halves["robust"]) == np.array(rows["robust"])) >= 0.95

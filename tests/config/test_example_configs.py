"""Every config that ships is planned, job by job, and says in its header what it costs."""

import os
import re
from pathlib import Path

import pytest
import yaml
from support.project import ROOT, load_benchmark

from zsr import registry
from zsr.plan.plan import Plan

# config -> jobs
CONFIGS = {
    "config/paper.yaml": 2928,
    "config/imagenet.yaml": 1574,
    "config/fewshot.yaml": 1262,
    "config/large-eps.yaml": 3419,
    "config/ablations-tecoa.yaml": 2706,
}

# config -> how many jobs it plans
SWEEPS = {"config/ablations.yaml": 101, "config/ablations-apd.yaml": 38}
DRAWN = {**SWEEPS, "config/methods.yaml": 1485}

# config -> how many jobs it plans; their data lies where a variable says (docs/validation.md)
REAL = {
    "config/real.yaml": 555,
    "config/real-full.yaml": 6291,
    "config/real-vit.yaml": 259,
}

COST = re.compile(r"(\d+) h fine-tuning, (\d+) h evaluation, (\d+) GB of images, (\d+) GB of weights, (\d+) jobs")


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return {path: Plan(yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))) for path in CONFIGS}


def test_every_config_is_listed():
    assert {f"config/{path.name}" for path in (ROOT / "config").glob("*.yaml")} == {*CONFIGS, *DRAWN, *REAL}


@pytest.mark.parametrize("path", CONFIGS)
def test_jobs(plans, path):
    plan = plans[path]
    assert len(plan.jobs) == CONFIGS[path]
    entries = plan.config.models.values()
    models = sum(len(m.backbones) * len(m.seeds) for m in entries)
    for protocol in plan.config.protocols.values():
        asked = len(protocol.attacks) * len(protocol.eps)
        left_out = sum(dataset in protocol.datasets for sets in plan.left_out.values() for dataset in sets)
        cells = sum(cell.wildcards["protocol"] == protocol.name for cell in plan.cells)
        assert cells == (models * len(protocol.datasets) - left_out) * asked


@pytest.mark.parametrize("path", CONFIGS)
def test_the_header_says_what_it_costs(plans, path):
    header = " ".join((ROOT / path).read_text(encoding="utf-8").partition("\ndevice")[0].replace("\n#", "").split())
    said = [int(number) for number in COST.search(header).groups()]
    cost = load_benchmark("hours").estimate(plans[path])
    found = [round(cost[key]) for key in ("training", "evaluation", "images", "weights")]
    assert said == [*found, CONFIGS[path]]
    assert "Hardware: " in header and f"--configfile {path}" in header


def test_results_of_two_configs_never_share_a_folder(plans):
    folders = [plan.config.results for plan in plans.values()]
    assert len(set(folders)) == len(folders)


def test_snakemake_plans_the_papers_config_on_an_empty_machine(project):
    """The dry run counts the jobs of the plan, `all` beside them; nothing is downloaded."""
    (project.folder / "config").mkdir()
    for path in CONFIGS:
        project.path(path).write_bytes((ROOT / path).read_bytes())
    text = project.snakemake("-n", "--quiet", "rules", "--configfile", "config/paper.yaml")
    total = re.search(r"^total\s+(\d+)", text, re.MULTILINE)
    assert int(total[1]) == CONFIGS["config/paper.yaml"] + 1


def load(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [*DRAWN, *REAL])
def test_the_plan_has_so_many_jobs(path):
    assert len(Plan(load(path)).jobs) == (DRAWN | REAL)[path]


@pytest.mark.parametrize("path", ["config/real.yaml", "config/real-vit.yaml"])
def test_real_photographs_are_planned_where_the_variables_say(project, tmp_path, path):
    """Without them one line says what is lacking; the files of the backbone must be there, images need not."""
    (project.folder / "config").mkdir()
    project.path(path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    lacking = {"ZSR_REAL_DATA": "", "ZSR_REAL_TEXT": ""}
    said = project.snakemake("-n", "--configfile", path, code=1, env=lacking)
    assert "the variable ZSR_REAL_DATA is not set; set it to the folder that holds" in said and "Traceback" not in said
    dual = load(path)["backbones"][0]["dual"]
    there = {"ZSR_REAL_DATA": str(tmp_path / "data"), "ZSR_REAL_TEXT": str(tmp_path / "text")}
    (tmp_path / "data").mkdir()
    for name in (dual["image"]["weights"], dual["projection"]["weights"], dual["text"]["sentence"] + "/config.json"):
        for variable, place in there.items():
            name = name.replace(f"${variable}", place)
        Path(os.path.normpath(name)).parent.mkdir(parents=True, exist_ok=True)
        Path(os.path.normpath(name)).touch()
    listed = project.snakemake("-n", "--quiet", "rules", "--configfile", path, env=there)
    assert int(re.search(r"^total\s+(\d+)$", listed, re.MULTILINE)[1]) == REAL[path] + 1


@pytest.mark.parametrize("path", DRAWN)
def test_snakemake_would_run_them(path, project):
    """A dry run in an empty folder: every job of the plan, and the rule that asks for all."""
    (project.folder / "config").mkdir()
    project.path(path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    listed = project.snakemake("-n", "--quiet", "rules", "--configfile", path)
    total = re.search(r"^total\s+(\d+)$", listed, re.MULTILINE)
    assert total, listed
    assert int(total[1]) == DRAWN[path] + 1


def test_every_method_is_in_the_table_of_methods():
    wanted = {entry["method"] for entry in load("config/methods.yaml")["models"] if "method" in entry}
    assert wanted == set(registry.names("methods")) - {"published"}  # it needs weights of others


def test_what_two_configs_share_is_one_result():
    """Equal specs at equal paths: neither config makes the other's backbones and models again."""
    plans = [Plan(load(path)) for path in ("config.yaml", "config/methods.yaml", *SWEEPS)]
    shared = {key for key in plans[0].jobs if key in plans[1].jobs and key[0] in ("pretrain", "finetune", "heads")}
    assert {key[0] for key in shared} == {"pretrain", "finetune", "heads"}
    assert all(plans[0].jobs[key].text == plans[1].jobs[key].text for key in shared)
    backbone = ("pretrain", (("backbone", "vit"),))
    assert len({plan.jobs[backbone].text for plan in plans}) == 1
    trained = [key for plan in plans[1:] for key in plan.jobs if key[0] == "finetune"]
    assert len(trained) == len(set(trained)), "one name, two recipes"

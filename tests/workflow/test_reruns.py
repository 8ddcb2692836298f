"""The promise that carries the project: one change, and exactly what depends on it runs again.

The miniature DAG (two backbones, three methods, three sets, two attacks, two ε) is made once; each test copies it with
its results and Snakemake's memory, changes one thing, and compares what `snakemake -n` would run with a set worked out
here from the plan's list of jobs, in the words of the table of docs/reruns.md.
"""

import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable

import pytest
import yaml
from support.project import MINI, Project, copy_project
from support.reruns import check, either, is_t, of_model, planned, set_recipe, trains

from zsr.checks.snakemake_memory import name_of_output
from zsr.checks.stale_results import remembered
from zsr.plan.plan import Plan
from zsr.storage.records import seal, write_json

pytestmark = pytest.mark.slow


# -- nothing ---------------------------------------------------------------------------------------------------------


def test_each_job_has_recorded_its_spec_as_its_only_param(finished):
    plan = Plan(finished.config)
    recorded = {}
    for path in (finished.folder / ".snakemake" / "metadata").rglob("*"):
        if path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
            recorded[record["params"][0] if record["params"] else None] = len(record["params"])
    specs = {repr(job.text) for job in plan.jobs.values()}
    assert set(recorded) == specs
    assert set(recorded.values()) == {1}


def test_snakemake_remembers_where_the_plan_looks(finished):
    plan = Plan(finished.config)
    name = name_of_output(str(plan.results / plan.tables.record))
    assert (finished.folder / ".snakemake/metadata" / name).is_file()


def test_other_results_than_those_that_snakemake_remembers_are_asked(copy):
    """As when a backup is put in their place: its times are in order, and the memory is of what was made since."""
    plan = Plan(copy.config)
    name = str(plan.results / plan.tables.record)
    path = copy.path(name)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert remembered(path, copy.path(".snakemake/metadata") / name_of_output(name))
    record["spec"]["cells"] = record["spec_hash"] = "before"
    del record["seal"]
    write_json(path, record | {"seal": seal(record)})
    said = copy.snakemake("-n", code=1)
    assert "Snakemake's memory (.snakemake/) is not of these results, and 1 of them" in said


def test_nothing_changed(copy):
    assert planned(copy) == set()
    assert "Nothing to be done" in copy.snakemake()


def test_every_source_file_touched(copy):
    for path in copy.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts and "results" not in path.parts:
            os.utime(path)
    check(copy, lambda job: False)


def test_weights_and_data_touched(copy):
    for pattern in ("*.safetensors", "*.npy", "manifest.json"):
        for path in (copy.folder / "results").rglob(pattern):
            os.utime(path)
    check(copy, lambda job: False)


def test_comments_docstrings_and_formatting(copy):
    for name in (
        "zsr/training/fine_tune.py",
        "zsr/methods/tecoa.py",
        "zsr_kernels/reference.py",
        "zsr/evaluation/cell.py",
    ):
        text = copy.path(name).read_text(encoding="utf-8")
        copy.path(name).write_text(
            "# a comment\n" + text.replace('"""', '"""Said otherwise. ', 1) + "\n\n# the end\n", encoding="utf-8"
        )
    check(copy, lambda job: False)


def test_order_of_keys_in_the_config(copy):
    def turned(value):
        return {k: turned(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    config = turned(copy.config)
    config["protocols"] = [turned(p) | {"attacks": [turned(a) for a in p["attacks"]]} for p in config["protocols"]]
    copy.configure(config)
    check(copy, lambda job: False)


# -- code ------------------------------------------------------------------------------------------------------------


def test_the_loss_of_a_method(copy):
    copy.edit("zsr/methods/tecoa.py", "return F.cross_entropy(logits", "return 2 * F.cross_entropy(logits")
    check(copy, either(is_t, of_model("tecoa")))


def test_a_shared_part_of_the_training_loop(copy):
    copy.edit("zsr/training/fine_tune.py", "torch.manual_seed(task.seed)", "torch.manual_seed(task.seed + 1)")
    check(copy, either(is_t, trains))


def test_the_reference_of_the_fused_step(copy):
    copy.path("zsr_kernels/reference.py").write_text(
        copy.path("zsr_kernels/reference.py").read_text(encoding="utf-8") + "\nX = 1\n", encoding="utf-8"
    )
    attacks = either(of_model("tecoa"), lambda job: job.rule == "evaluate")
    check(copy, either(is_t, attacks))


def test_report_code(copy):
    copy.path("zsr/report/page/build.py").write_text(
        copy.path("zsr/report/page/build.py").read_text(encoding="utf-8") + "\nX = 1\n", encoding="utf-8"
    )
    check(copy, lambda job: job.rule == "report")


def test_a_vocabulary(copy):
    words = copy.path("zsr/models/words.txt")
    words.write_text(words.read_text(encoding="utf-8") + "zebra\n", encoding="utf-8")
    check(copy, lambda job: job.rule != "prepare")


def test_a_class_name(copy):
    path = next(copy.path("zsr/data/sets").glob("handwritten-digits.yaml"))
    text = path.read_text(encoding="utf-8")
    assert text.count("digit 7") == 1
    path.write_text(text.replace("digit 7", "digit 7 7"), encoding="utf-8")
    reads = {"heads", "evaluate"}
    check(copy, either(is_t, lambda job: job.rule in reads and job.wildcards["dataset"] == "handwritten-digits"))


def test_the_pins_of_one_environment(copy):
    copy.edit("envs/report.yaml", "altair==6.3.0", "altair==6.3.1")
    check(copy, is_t)
    copy.edit("envs/evaluate.yaml", "pyarrow==26.0.1", "pyarrow==26.0.2")
    check(copy, either(is_t, trains, lambda job: job.rule in ("heads", "evaluate")))


# -- config ----------------------------------------------------------------------------------------------------------


def test_a_hyper_parameter_of_one_model(copy):
    set_recipe(copy, lr=0.002)
    check(copy, either(is_t, of_model("tecoa")))


def test_two_hyper_parameters_swapped(copy):
    recipe = next(m for m in copy.config["models"] if m["name"] == "tecoa")["recipe"]
    assert recipe["attack_steps"] != recipe["warmup"]
    set_recipe(copy, attack_steps=recipe["warmup"], warmup=recipe["attack_steps"])
    check(copy, either(is_t, of_model("tecoa")))


def test_a_value_set_to_one_that_another_key_has(copy):
    recipe = next(m for m in copy.config["models"] if m["name"] == "tecoa")["recipe"]
    set_recipe(copy, warmup=recipe["attack_steps"])
    check(copy, either(is_t, of_model("tecoa")))


def change_protocol(copy: Project, change: Callable[[dict], None]) -> None:
    config = copy.config
    change(config["protocols"][0])
    copy.configure(config)


def test_an_eps_added(copy):
    change_protocol(copy, lambda p: p["eps"].append("3/255"))
    check(copy, either(is_t, lambda job: job.wildcards.get("eps") == "3_255"))


def test_an_eps_removed_leaves_orphans_that_are_listed(copy):
    gone = copy.config["protocols"][0]["eps"][-1].replace("/", "_")
    shutil.copy(copy.path("config.yaml"), copy.path("before.yaml"))
    change_protocol(copy, lambda p: p["eps"].pop())
    check(copy, is_t)
    listed = copy.zsr("prune")
    cells = 2 * 3 * 3 * 2
    assert len(re.findall(rf"eps-{gone}\.(?:parquet|json)\n", listed)) == 2 * cells
    assert f"{3 * cells} orphans" in listed
    assert "0 orphans" in copy.zsr("prune", "--keep", "before.yaml")
    part = copy.path("results/models/vit.tecoa.s0/.weights.safetensors.part")
    part.touch()  # a job is writing it
    copy.zsr("prune", "--delete")
    assert "0 orphans" in copy.zsr("prune")
    assert part.exists()


def test_a_dataset_added(copy):
    config = copy.config
    config["data"].append({"name": "more", "like": config["protocols"][0]["datasets"][0], "options": {"seed": 5}})
    config["protocols"][0]["datasets"].append("more")
    copy.configure(config)
    check(copy, either(is_t, lambda job: job.wildcards.get("dataset") == "more"))


def test_the_steps_of_one_attack(copy):
    change_protocol(copy, lambda p: p["attacks"][0].update(steps=p["attacks"][0]["steps"] + 1))
    name = copy.config["protocols"][0]["attacks"][0]["name"]
    check(copy, either(is_t, lambda job: job.wildcards.get("attack") == name))


def test_a_seed_added(copy):
    config = copy.config
    next(m for m in config["models"] if m["name"] == "tecoa")["seeds"] = [0, 1]
    copy.configure(config)
    check(copy, either(is_t, lambda job: job.wildcards.get("model", "").endswith(".tecoa.s1")))


def test_without_and_then_with_conda(copy, tmp_path):
    """A stub `conda` on the PATH: switching to --use-conda makes nothing stale."""
    stub = tmp_path / "bin" / "conda"
    stub.parent.mkdir()
    info = '{"conda_prefix": "/opt/conda", "root_prefix": "/opt/conda", "platform": "linux-64"}'
    strict = '{"get": {"channel_priority": "strict"}}'
    stub.write_text(
        f"""#!/bin/sh
case "$*" in
  *--version*) echo "conda 25.1.0";;
  *info*) echo '{info}';;
  *"config --get channel_priority"*) echo '{strict}';;
esac
""",
        encoding="utf-8",
    )
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    text = copy.snakemake("-n", "--use-conda", env={"PATH": f"{stub.parent}:{os.environ['PATH']}"})
    assert "Nothing to be done" in text


# -- zsr why ---------------------------------------------------------------------------------------------------------


def test_why_names_the_key_and_the_file(copy):
    cell = next(str(p.relative_to(copy.folder)) for p in copy.folder.glob("results/eval/*/rn.tecoa.s0/*/*/*.parquet"))
    assert "it is up to date" in copy.zsr("why", cell)
    set_recipe(copy, lr=0.002)
    copy.edit("zsr/methods/tecoa.py", "return F.cross_entropy(logits", "return 2 * F.cross_entropy(logits")
    said = copy.zsr("why", cell)
    assert re.search(r"its model \(finetune rn\.tecoa\.s0\): recipe\.lr: [\d.]+ -> 0\.002", said)
    assert "its model (finetune rn.tecoa.s0): code: zsr/methods/tecoa.py changed" in said
    assert "results/nothing: no result; name a file" in copy.zsr("why", "results/nothing", code=1)


# -- determinism, in the same run ------------------------------------------------------------------------------------


def test_two_runs_make_the_same_weights_and_verdicts(finished, tmp_path):
    again = copy_project(tmp_path / "again")
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    config["backbones"] = config["backbones"][:1]
    again.configure(config)
    start = time.time()
    again.snakemake("--until", "evaluate")
    assert time.time() - start > 1
    plan = Plan(again.config)
    for job in plan.jobs.values():
        if job.rule in ("prepare", "pretrain", "heads", "finetune", "evaluate"):
            one, two = (
                json.loads((p.folder / plan.results / job.record).read_text(encoding="utf-8"))
                for p in (finished, again)
            )
            keys = {"prepare": ("images", "labels"), "heads": ("head",), "evaluate": ("rows",)}.get(
                job.rule, ("weights",)
            )
            assert [one["digests"][k] for k in keys] == [two["digests"][k] for k in keys], job.title

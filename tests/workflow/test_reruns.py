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
from pathlib import Path

import pytest
import yaml
from support.damage import flip
from support.project import MINI, Project, copy_project
from support.reruns import downstream, expected, is_t, planned

from zsr.checks.snakemake_memory import name_of_output
from zsr.checks.stale_results import remembered
from zsr.plan.graph import Job
from zsr.plan.plan import Plan
from zsr.storage.examples import read_table
from zsr.storage.records import seal, write_json

pytestmark = pytest.mark.slow


def check(project: Project, wanted: Callable[[Job], bool]) -> None:
    """Compare, and say which jobs are too many or too few."""
    found, right = planned(project), expected(project, wanted)
    assert right or not found
    assert not found - right, f"would run in vain: {sorted(found - right)}"
    assert not right - found, f"would stay stale: {sorted(right - found)}"


def of_model(name: str) -> Callable[[Job], bool]:
    """A model's fine-tunings and cells."""
    return lambda job: f".{name}" in job.wildcards.get("model", "") and job.wildcards["model"].split(".")[1] == name


def trains(job: Job) -> bool:
    return ".s" in job.wildcards.get("model", "")


def either(*conditions: Callable[[Job], bool]) -> Callable[[Job], bool]:
    return lambda job: any(condition(job) for condition in conditions)


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


def set_recipe(copy: Project, **keys) -> None:
    config = copy.config
    next(m for m in config["models"] if m["name"] == "tecoa").setdefault("recipe", {}).update(keys)
    copy.configure(config)


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


# -- results ---------------------------------------------------------------------------------------------------------


def a_cell(copy: Project) -> tuple[Job, Path]:
    plan = Plan(copy.config)
    job = plan.cells[5]
    return job, copy.folder / plan.results / job.outputs["rows"]


def test_a_cell_deleted(copy):
    job, path = a_cell(copy)
    path.unlink()
    check(copy, lambda other: other.title == job.title or is_t(other))


@pytest.mark.parametrize("keep_time", [True, False])
def test_a_cell_changed_by_hand(copy, keep_time):
    job, path = a_cell(copy)
    before = path.stat()
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert planned(copy) <= expected(copy, is_t)
    assert path.name in copy.zsr("verify", "--seals", code=1)
    shutil.rmtree(copy.path("results/tables"))
    assert f"{path.name}: damaged" in copy.snakemake(code=1)
    assert f"removed {job.title}" in copy.zsr("repair")
    assert not path.exists()
    check(copy, lambda other: other.title == job.title or is_t(other))
    copy.snakemake()
    assert "0 wrong, 0 not there" in copy.zsr("verify", "--seals")


UPSTREAM = (
    "data/mini-source/train/native/images.npy",
    "data/mini-captions/train/native/captions.json",
    "data/drawn-colour/test/native/labels.npy",
    "backbones/rn/weights.safetensors",
    "heads/rn/drawn-colour.safetensors",
    "heads/vit/mini-source.safetensors",
    "models/rn.tecoa.s0/weights.safetensors",
    "models/rn.tecoa.s0/manifest.json",
    "models/rn.clip/weights.safetensors",
)


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_repair_removes_is_made_again_with_all_that_is_made_of_it(copy, name):
    plan = Plan(copy.config)
    flip(copy.folder / plan.results / name)
    assert "1 results removed" in copy.zsr("repair")
    titles = {job.title for job in downstream(plan, name)}
    check(copy, lambda job: job.title in titles or is_t(job))


@pytest.mark.parametrize("names", [["manifest.json"], ["weights.safetensors"], ["train.jsonl"], None])
def test_a_model_deleted(copy, names):
    """By hand, or by Snakemake when Ctrl-C ends a training of another config, which is then put back."""
    plan = Plan(copy.config)
    model = "models/vit.ce.s0"
    for name in names or ["manifest.json", "weights.safetensors", "train.jsonl"]:
        (copy.folder / plan.results / model / name).unlink()
    titles = {job.title for job in downstream(plan, f"{model}/manifest.json")}
    check(copy, lambda job: job.title in titles or is_t(job))


@pytest.mark.parametrize("target", ["results/report.html", "report"])
def test_a_target_of_ones_own_asks_for_what_is_gone_beneath_it(copy, target):
    plan = Plan(copy.config)
    assert planned(copy, target) == set()
    name = "models/rn.tecoa.s0/manifest.json"
    (copy.folder / plan.results / name).unlink()
    titles = {job.title for job in downstream(plan, name)}
    right = expected(copy, lambda job: job.title in titles or is_t(job))
    assert planned(copy, target) == right
    assert planned(copy, "results/models/vit.tecoa.s0/manifest.json") == set(), "it is not made of the missing model"


def test_a_log_or_a_benchmark_deleted(copy):
    for folder in ("logs", "benchmarks"):
        shutil.rmtree(copy.path(f"results/{folder}"))
    check(copy, lambda job: False)


def test_verify_scores_again_and_recounts_and_fails_without_examples(copy):
    """Hardly anything falls in the miniature, whose models have learned nothing; what falls is stored."""
    said = copy.zsr("verify")
    stored = sum(read_table(path).num_rows for path in copy.path("results/eval").rglob("*.examples"))
    assert stored and f"{stored} stored examples scored again" in said
    assert "recounted, 0 wrong" in said
    assert " 0 clean predictions" not in said
    raw = copy.config
    raw["models"] = raw["models"][:1]
    short = {"store": "none", "datasets": ["drawn-colour"], "attacks": raw["protocols"][0]["attacks"][:1]}
    raw["protocols"][0] |= {**short, "eps": ["1/255"]}
    copy.configure(raw)
    copy.snakemake()
    assert "no adversarial example is stored" in copy.zsr("verify", code=1)


def test_memory_lost_then_code_changed(copy):
    shutil.rmtree(copy.path(".snakemake"))
    assert planned(copy) == set()
    copy.edit("zsr/methods/tecoa.py", "return F.cross_entropy(logits", "return 2 * F.cross_entropy(logits")
    message = copy.snakemake(code=1)
    assert "Snakemake's memory (.snakemake/) is not of these results" in message
    assert re.search(r"first models/\w+\.tecoa\.s0/manifest\.json", message)
    shutil.rmtree(copy.path("results/tables"))  # also where only times could speak
    message = copy.snakemake("results/tables/manifest.json", code=1)
    assert re.search(r"first models/\w+\.tecoa\.s0/manifest\.json", message)
    assert not copy.path("results/tables/manifest.json").exists()
    copy.zsr("repair")
    check(copy, either(is_t, of_model("tecoa")))


def test_code_edited_while_jobs_are_queued(copy):
    """The edit happens in a job that runs first; those planned with the old code must not publish."""
    copy.path("results/eval").rename(copy.path("old"))
    body = copy.path("workflow/scripts/evaluate.py").read_text(encoding="utf-8")
    late = 'if __name__ == "__main__":\n'
    edit = (
        "    from pathlib import Path\n"
        "    loop = Path('zsr/evaluation/cell.py')\n"
        "    if 'edited' not in loop.read_text():\n"
        "        loop.write_text(loop.read_text() + '\\nedited = 1\\n')\n"
    )
    assert body.count(late) == 1
    copy.path("workflow/scripts/evaluate.py").write_text(body.replace(late, late + edit), encoding="utf-8")
    message = copy.snakemake("--until", "evaluate", code=1)
    assert "the code changed after this job was planned" in message
    assert not list(copy.path("results/eval").rglob("*.parquet"))


def test_code_edited_while_a_job_runs(copy):
    _, path = a_cell(copy)
    path.unlink()
    body = copy.path("workflow/scripts/evaluate.py").read_text(encoding="utf-8")
    line = "    write_rows("
    assert body.count(line) == 1
    edit = "    open('zsr/storage/rows.py', 'a').write('\\nedited = 1\\n')\n"
    copy.path("workflow/scripts/evaluate.py").write_text(body.replace(line, edit + line), encoding="utf-8")
    message = copy.snakemake(str(path.relative_to(copy.folder)), code=1)
    assert "the code changed after this job was planned" in message
    assert not path.exists()


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

"""The rules themselves: each says what it is, what it costs and where it runs; profiles keep the same promises."""

import re

import pytest
import yaml
from support.project import MINI, ROOT, refused

from zsr.plan.plan import Plan
from zsr.storage import layout

TEXT = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
BODY = r":\n(.*?)(?=^\S|\Z)"
RULES = dict(re.findall(rf"^rule (\w+){BODY}", TEXT, re.MULTILINE | re.DOTALL))
BASES: dict[str, str] = {}  # rule -> the rule whose script, resources, environment it shares


def sections(body: str) -> dict[str, str]:
    """The parts of a rule by name; its docstring is the part without one."""
    parts = re.split(r"^    (\w+):", body, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


for base, name, body in re.findall(rf"^use rule (\w+) as (\w+) with{BODY}", TEXT, re.MULTILINE | re.DOTALL):
    shared = sections(RULES[base]) | {part: text for part, text in sections(body).items() if part}
    RULES[name] = shared.pop("") + "".join(f"    {part}:{text}" for part, text in shared.items())
    BASES[name] = base


def test_every_kind_of_job_has_a_rule():
    assert set(RULES) == set(layout.OUTPUTS)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_all_that_is_asked(name):
    body = RULES[name]
    assert re.match(r'    """.+?"""\n', body), "a docstring comes first"
    for part in ("output", "params", "log", "benchmark", "threads", "resources", "conda", "shell"):
        assert re.search(rf"^    {part}:", body, re.MULTILINE), f"{part} is missing"
    for resource in ("mem_mb", "runtime"):
        assert f"{resource}=" in body
    assert re.findall(r"^        (\w+)=spec_of", body, re.MULTILINE) == ["spec"], "the spec is the only param"
    script = BASES.get(name, name)
    assert re.search(rf"start\(\s*['\"]{script}['\"]", body), "the script is named like its rule"
    assert (ROOT / f"workflow/scripts/{script}.py").exists()


@pytest.mark.parametrize("name", RULES)
def test_the_rule_writes_what_the_layout_says_and_its_record_last(name):
    outputs = re.findall(rf'^        (\w+)=(?:report\(\s*)?out\("{name}", "(\w+)"\)', RULES[name], re.MULTILINE)
    assert all(left == right for left, right in outputs)
    assert [left for left, _ in outputs] == list(layout.OUTPUTS[name])
    assert outputs[-1][0] == "record"


def test_conda_environments_are_those_of_the_specs():
    for job in Plan(yaml.safe_load(MINI.read_text(encoding="utf-8"))).jobs.values():
        assert f'"../../envs/{job.spec["environment"]["name"]}.yaml"' in RULES[job.rule]
        if "device" in job.spec:
            assert re.search(r"gpu=.*\bgpus\(\)", RULES[job.rule]), "what runs on a device may ask for a GPU"
        else:
            assert "gpu=" not in RULES[job.rule]


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text(encoding="utf-8"))


def test_both_profiles_keep_the_promise_of_reruns():
    for name in ("default", "slurm"):
        found = profile(name)
        assert found["rerun-triggers"] == ["mtime", "params", "input"]
        assert found["max-checksum-file-size"] >= 10**9
        assert found["rerun-incomplete"] is True
    assert profile("default")["resources"] == {"gpu": 1}
    assert "resources" not in profile("slurm"), "a cluster counts its own GPUs"


@pytest.mark.slow
def test_the_default_configs_name_what_exists():
    configs = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]
    for path in configs:
        assert Plan(yaml.safe_load(path.read_text(encoding="utf-8"))).cells, path.name


def test_a_spec_that_no_command_takes_is_refused(mini):
    """Linux gives an argument 128 KiB: without a check a job would end with `Argument list too long`."""
    own = {"name": "own", "reader": "folder", "size": 32, "splits": {"test": 48}, "templates": ["a {} picture"]}
    mini["protocols"][0]["datasets"] = ["own"]
    mini["data"].append({**own, "classes": [f"bjørn {i:04}" for i in range(7000)]})
    Plan(mini)
    mini["data"][-1]["classes"] = [f"bjørn {i:04}" for i in range(9000)]
    with refused(r"heads rn own: its spec has 12\d{4} bytes, and a command takes 120000"):
        Plan(mini)

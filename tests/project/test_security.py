"""Nothing that is read can run code: pickles are refused, dangerous calls do not exist, hostile names stay names."""

import ast
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from support.project import MINI, ROOT

from zsr.config.text import read
from zsr.data import prepared
from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.plan.plan import Plan
from zsr.training.checkpoint import Checkpoint

SOURCES = sorted(
    path for part in ("zsr", "zsr_kernels", "workflow") for path in (ROOT / part).rglob("*.py")
)  # fmt: skip
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "dill.load", "dill.loads", "cloudpickle.load",
    "cloudpickle.loads", "pandas.read_pickle", "pd.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "subprocess.getoutput", "subprocess.getstatusoutput", "torch.hub.load", "torch.jit.load", "tempfile.mktemp",
}  # fmt: skip


def name_of(node: ast.expr) -> str:
    """`a.b.c` of a call's function, or nothing."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def complaints(source: str) -> list[str]:
    """The calls of a source that could run what they read."""
    found = []
    tree = ast.parse(source)
    alias = {
        entry.asname or entry.name: f"{node.module}.{entry.name}" if isinstance(node, ast.ImportFrom) else entry.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for entry in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        head, _, rest = name.partition(".")
        name = alias.get(head, head) + (f".{rest}" if rest else "")
        given = {word.arg: getattr(word.value, "value", word.value) for word in node.keywords}
        if name in FORBIDDEN or name.removeprefix("builtins.") in FORBIDDEN:
            found.append(f"{node.lineno}: {name}")
        if name == "torch.load" and given.get("weights_only") is not True:
            found.append(f"{node.lineno}: torch.load without weights_only=True")
        if name in ("numpy.load", "numpy.lib.format.read_array") and given.get("allow_pickle") is not False:
            found.append(f"{node.lineno}: {name} without allow_pickle=False")
        if given.get("shell", False) is not False:
            found.append(f"{node.lineno}: shell=")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_call_runs_what_it_reads(path):
    assert complaints(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch; torch.load(p)",
        "from torch import load; load(p, weights_only=False)",
        "import numpy as np; np.load(p)",
        "import numpy as np; np.load(p, allow_pickle=True)",
        "import pickle as p; p.loads(b'')",
        "from os import system as run; run('ls')",
        "import yaml; yaml.load(t, yaml.Loader)",
        "import subprocess; subprocess.run('ls', shell=True)",
        "import subprocess; subprocess.Popen('ls', shell=flag)",
        "eval('1')",
        "import builtins; builtins.exec('1')",
    ],
)
def test_the_check_sees_what_it_forbids(source):
    assert complaints(source)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_checkpoint_that_holds_code_is_refused(tmp_path):
    torch.save({"spec_hash": "a", "state": Bomb(tmp_path / "boom")}, tmp_path / "last.ckpt")
    with pytest.raises(ZsrError, match="damaged checkpoint"):
        Checkpoint(tmp_path / "last.ckpt", "a").load()
    (tmp_path / "last.ckpt").write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    with pytest.raises(ZsrError, match="damaged checkpoint"):
        Checkpoint(tmp_path / "last.ckpt", "a").load()
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_arrays_that_hold_code_are_refused(tmp_path, kind):
    """With a right digest, as if made by hand."""
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 4, 4), np.uint8))
    np.save(tmp_path / "labels.npy", np.zeros(2, np.int64))
    np.save(tmp_path / f"{kind}.npy", np.array([Bomb(tmp_path / "boom")], object), allow_pickle=True)
    record = {"digests": {name: file_digest(tmp_path / f"{name}.npy") for name in ("images", "labels")}}
    with pytest.raises(ZsrError, match=rf"{kind}\.npy: not an array of numbers.*(allow_pickle|memory-mapped|objects)"):
        prepared.read(tmp_path / "images.npy", {**record, "labels": {"most": 0}})
    assert not (tmp_path / "boom").exists()


def test_weights_that_are_a_pickle_are_refused(tmp_path):
    """Weights are safetensors, which cannot hold code: a pickle under that name is no such file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = tmp_path / "weights.safetensors"
    torch.save({"a": Bomb(tmp_path / "boom")}, path)
    with pytest.raises(SafetensorError):
        load_file(path)
    assert not (tmp_path / "boom").exists()


def test_a_config_cannot_run_code(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"results: !!python/object/apply:os.mkdir ['{tmp_path / 'boom'}']\n", encoding="utf-8")
    with pytest.raises(ZsrError, match="not YAML"):
        read(path)
    assert not (tmp_path / "boom").exists()


HOSTILE = [
    "$(touch boom)", "`touch boom`", "a; touch boom", "a b", "../up", "a/b", "a.b", ".", "..", "", "-rf", "a'b", 'a"b',
    "{dataset}", "a\nb", "<script>alert(1)</script>", "\\input{x}", "a\x00b", "a|b", "*", "~", "é", "a\n",
]  # fmt: skip


def named(place: str, name: str) -> dict:
    mini = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    if place == "data":
        mini["data"].append({"name": name, "like": "drawn-colour"})
        mini["protocols"][0]["datasets"].append(name)
    elif place == "attack":
        mini["protocols"][0]["attacks"][0]["name"] = name
    elif place == "split":
        mini["data"][1]["splits"] = {"train": 256, name: 64}
        mini["protocols"][0] |= {"split": name, "datasets": ["mini-source"]}
    else:
        mini[place][0]["name"] = name
    return mini


@pytest.mark.parametrize("place", ["data", "backbones", "models", "protocols", "attack", "split"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_becomes_a_path_has_a_plain_form(place, name):
    """Names of the config become folders, wildcards and words of a shell line: letters, digits, - and _ alone."""
    with pytest.raises(ZsrError) as caught:
        Plan(named(place, name))
    assert len(str(caught.value).splitlines()) == 1 or "\n" in name


@pytest.mark.parametrize("name", ["a{b}", "a\nb", "a\x00", "*", ""])
def test_the_results_folder_holds_no_wildcard(name):
    with pytest.raises(ZsrError, match="results"):
        Plan(yaml.safe_load(MINI.read_text(encoding="utf-8")) | {"results": name})


def test_free_text_reaches_the_shell_as_one_word(tmp_path):
    """Class names and templates may hold anything; they stand in the spec, which Snakemake quotes (`:q`)."""
    mini = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    hostile = "'; touch boom; $(touch boom) `touch boom` \\ \" {output.rows} <b>"
    mini["data"].append({"name": "odd", "like": "drawn-colour", "templates": [hostile + " {}"]})
    mini["protocols"][0]["datasets"].append("odd")
    job = next(job for job in Plan(mini).jobs.values() if job.rule == "heads" and job.wildcards["dataset"] == "odd")
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert "{{params.spec:q}}" in rules and rules.count("{{params.spec") == rules.count("{{params.spec:q}}")
    line = f"{shlex.quote(sys.executable)} -c 'import sys; print(sys.argv[1], end=\"\")' {shlex.quote(job.text)}"
    said = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == job.text
    assert not (tmp_path / "boom").exists()

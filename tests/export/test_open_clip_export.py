"""What leaves the project: checkpoints for plain open_clip, numbers for other tools, tables on the terminal."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from support import latex
from support.project import Project

from zsr import registry
from zsr.cli.export import models
from zsr.errors import ZsrError
from zsr.export import open_clip as export
from zsr.models.backbone import build
from zsr.plan.plan import Plan
from zsr.registry import PACKAGE
from zsr.report import csv_tables
from zsr.results import models as loading

pytestmark = pytest.mark.slow


def plan_of(project: Project) -> Plan:
    return Plan(project.config | {"results": str(project.path("results"))})


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    to = tmp_path_factory.mktemp("exports")
    finished.zsr("export", "models", "rn.tecoa.s0", "--to", str(to))
    return to


@pytest.fixture(scope="module")
def cells(finished):
    return csv_tables.loads(finished.path("results/tables/cells.csv").read_text(encoding="utf-8"))


def test_plain_open_clip_gives_the_same_bits(finished, folder):
    import open_clip

    plan = plan_of(finished)
    ours, _ = loading.model(plan, models(plan)["rn.tecoa.s0"])
    theirs = open_clip.create_model(f"local-dir:{folder / 'rn.tecoa.s0'}").eval()
    mine, other = ours.clip.state_dict(), theirs.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = ours.tokens(["a photo of a red circle", "a photo of a green square"])
    # as zsr runs it, since sums in another order move the last bit: ResNets by channels_last, and torch's attention has
    # another path for weights that do not train
    theirs.requires_grad_(False).visual.to(memory_format=torch.channels_last)
    with torch.no_grad():
        texts = ours.encode_text(["a photo of a red circle", "a photo of a green square"])
        logits = ours.logit_scale * torch.nn.functional.normalize(ours.visual(x), dim=1) @ texts.T
        image, text = theirs.encode_image(x, normalize=True), theirs.encode_text(tokens)
        assert torch.equal(logits, theirs.logit_scale.exp().item() * image @ text.T)
    untouched, _ = loading.model(plan, models(plan)["rn.clip"])
    assert not torch.equal(mine["visual.conv1.weight"], untouched.clip.state_dict()["visual.conv1.weight"])


def test_the_preprocessing_and_the_vocabulary_travel(folder):
    import open_clip

    about = json.loads((folder / "rn.tecoa.s0" / export.CONFIG).read_text(encoding="utf-8"))
    assert about["preprocess_cfg"] == {"mean": [0.48] * 3, "std": [0.2] * 3}
    _, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder / 'rn.tecoa.s0'}")
    assert tuple(preprocess.transforms[-1].mean) == (0.48, 0.48, 0.48)
    assert (folder / "rn.tecoa.s0" / "words.txt").read_text(encoding="utf-8").split()[0] == "<pad>"


def test_the_card_is_filled_from_the_results(folder, cells):
    text = (folder / "rn.tecoa.s0" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["library_name"] == "open_clip"
    mine = cells[cells["id"] == "rn.tecoa.s0"]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert {row[0].removesuffix(" (fine-tuned on it)") for row in rows[1:]} == set(mine["dataset"])
    for row in rows[1:]:
        part = mine[mine["dataset"] == row[0].removesuffix(" (fine-tuned on it)")]
        assert len(row) == 3 + len(part)
        for item, share in zip(row[3:], part["robust"], strict=True):
            assert float(item.split()[0]) == pytest.approx(100 * share, abs=0.051)


def test_what_cannot_be_plain_is_refused_with_the_reason(finished):
    text = finished.zsr("export", "models", "vit.tecoa.s0", "--to", "nowhere", code=1)
    assert text.count("\n") == 1 and "vit.tecoa.s0: cannot be exported" in text and "stem" in text
    assert not finished.path("nowhere/vit.tecoa.s0").exists()
    text = finished.zsr("export", "models", "rn.tecao.s0", code=1)
    assert "did you mean 'rn.tecoa.s0'?" in text


@pytest.mark.parametrize(("name", "reason"), [("vp-pixel", "prompt"), ("laat", "class embeddings"), ("tecoa", None)])
def test_prompts_and_heads_of_a_methods_own_are_refused(name, reason):
    arch = yaml.safe_load((PACKAGE / "models/archs/drawn-rn.yaml").read_text(encoding="utf-8"))
    method = registry.load("methods", name)()
    backbone = build(arch)
    backbone.clip.visual = method.wrap(backbone.visual)
    found = export.why_not(backbone, method, arch)
    assert (reason is None and found is None) or reason in found


def test_robustbench_entries_agree_with_the_cells(finished, cells, tmp_path):
    finished.zsr("export", "robustbench", "--to", str(tmp_path))
    assert len(list(tmp_path.glob("*.json"))) == cells["id"].nunique()
    found = json.loads((tmp_path / "rn.ce.s0.json").read_text(encoding="utf-8"))
    assert (found["method"], found["trained_with_eps"]) == ("ce", "0")
    mine = cells[(cells["id"] == "rn.ce.s0") & (cells["attack_name"] != "union")]
    for entry in found["entries"]:
        part = mine[(mine["dataset"] == entry["dataset"]) & (mine["eps"] == entry["eps"])]
        assert {name: float(share) for name, share in entry["attacks"].items()} == pytest.approx(
            dict(zip(part["attack"], 100 * part["robust"], strict=True)), abs=0.051
        )
        assert entry["autoattack_acc"] is None and entry["threat"] == "Linf"


def test_results_are_one_tidy_parquet(finished, cells, tmp_path):
    finished.zsr("export", "results", "--to", str(tmp_path))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "results.parquet"), cells, check_dtype=False)
    assert "takes no names" in finished.zsr("export", "results", "rn.ce.s0", code=1)


def test_figures_for_papers(finished, tmp_path):
    finished.zsr("export", "figures", "--to", str(tmp_path))
    pdfs = sorted(tmp_path.glob("*.pdf"))
    assert [p.stem for p in pdfs] == sorted(p.stem for p in tmp_path.glob("*.svg")) and len(pdfs) == 6
    assert all(p.read_bytes().startswith(b"%PDF-") for p in pdfs)


# -- zsr table -------------------------------------------------------------------------------------------------------


def test_table_gives_the_numbers_of_the_sets(finished):
    sets = csv_tables.loads(finished.path("results/tables/sets.csv").read_text(encoding="utf-8"))
    text = finished.zsr("table", "--backbone", "rn", "--attack", "pgd", "--eps", "1/255", "--format", "csv")
    table = pd.read_csv(io.StringIO(text)).set_index("model")
    part = sets[(sets["backbone"] == "rn") & (sets["attack"] == "pgd") & (sets["eps"] == "1/255")]
    assert list(table.index) == list(part["model"].unique())
    for _, line in part.iterrows():
        assert table.loc[line["model"], line["dataset"]] == pytest.approx(100 * line["robust"], abs=0.006)
    source = part[part["model"] == "tecoa"]
    assert table.loc["tecoa", "mean, all with source"] == pytest.approx(100 * source["robust"].mean(), abs=0.006)
    zero_shot = source[~source["is_source"]]
    assert table.loc["tecoa", "mean, zero-shot"] == pytest.approx(100 * zero_shot["robust"].mean(), abs=0.006)


def test_table_as_latex_compiles(finished, tmp_path):
    finished.zsr("table", "--format", "latex", "--quantity", "clean", "--backbone", "rn", "-o", str(tmp_path / "t.tex"))
    text = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert len(latex.check(text)) == 4
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed; the checker of tests/support/latex.py has passed")
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{text}\\end{{document}}\n"
    (tmp_path / "d.tex").write_text(document, encoding="utf-8")
    import subprocess

    done = subprocess.run(["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "d.tex"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--protocol", "mimi"], "--protocol: unknown protocol 'mimi'; did you mean 'mini'?"),
        (["--eps", "3/255"], "--eps: '3/255' was not measured with worst case; there are 1/255, 4/255"),
        (["--attack", "pgd-lomg"], "did you mean 'pgd-long'?"),
        (["--eps", "much"], "ε 'much' is not a number"),
    ],
)
def test_a_mistake_is_one_line(finished, arguments, line):
    text = finished.zsr("table", *arguments, code=1)
    assert text.startswith("zsr: ") and text.count("\n") == 1 and line in text


def test_a_tables_file_changed_by_hand_is_refused(copy):
    path = copy.path("results/tables/sets.csv")
    path.write_text(path.read_text(encoding="utf-8").replace("0.", "1.", 1), encoding="utf-8")
    assert "damaged" in copy.zsr("table", code=1)


# -- zsr status ------------------------------------------------------------------------------------------------------


def test_status_says_what_is_left_from_measured_seconds(copy):
    plan = Plan(copy.config)
    assert "everything is done" in copy.zsr("status")
    gone = [cell for cell in plan.cells if cell.wildcards["dataset"] == "mini-source"][:3]
    stay = [cell for cell in plan.cells if cell not in gone]
    for cell in gone:
        copy.path(f"results/{cell.record}").unlink()
    text = copy.zsr("status", "--cores", "1", "--missing")
    line = next(line for line in text.splitlines() if line.startswith("evaluate"))
    assert line.split()[1:5] == [str(len(stay)), "0", "0", "3"]
    assert [part for part in text.splitlines() if part.startswith("missing: ")] == [f"missing: {c.title}" for c in gone]
    seconds = {c: json.loads(copy.path(f"results/{c.record}").read_text(encoding="utf-8"))["seconds"] for c in stay}
    # their like: the same method, attack and backbone; of the same set if one is left
    wanted = 0.0
    for cell in gone:
        same = [c for c in stay if c.spec["method"] == cell.spec["method"] and c.spec["attack"] == cell.spec["attack"]
                and c.needs["backbone"].hash == cell.needs["backbone"].hash]  # fmt: skip
        alike = [c for c in same if c.wildcards["dataset"] == cell.wildcards["dataset"]] or same
        wanted += float(np.median([seconds[c] for c in alike]))
    said = f"{wanted:.0f} s" if wanted < 90 else f"{round(wanted / 60)} min"  # a busy machine may need minutes
    assert f"about {said} of work" in text


def test_status_knows_what_snakemake_has_begun(copy):
    from zsr.checks.snakemake_memory import name_of_output

    cell = Plan(copy.config).cells[0]
    memory = copy.path(".snakemake")
    (memory / "incomplete").mkdir(exist_ok=True)
    (memory / "incomplete" / name_of_output(f"results/{cell.record}")).touch()
    line = next(line for line in copy.zsr("status").splitlines() if line.startswith("evaluate"))
    assert line.split()[2] == "0", "a marker without a lock is of a run that ended"
    (memory / "locks").mkdir(exist_ok=True)
    (memory / "locks" / "0.output.lock").touch()
    line = next(line for line in copy.zsr("status").splitlines() if line.startswith("evaluate"))
    assert line.split()[2] == "1"


def test_unknown_methods_head_is_refused_by_checkpoint(tmp_path):
    arch = yaml.safe_load((PACKAGE / "models/archs/drawn-rn.yaml").read_text(encoding="utf-8"))
    backbone, method = build(arch), registry.load("methods", "tima")()
    with pytest.raises(ZsrError, match=r"m\.s0: cannot be exported"):
        export.checkpoint(tmp_path / "m.s0", "m.s0", backbone, method, arch)
    assert not (tmp_path / "m.s0").exists()

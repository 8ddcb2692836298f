"""The gallery: images drawn by seed, attention held against attention by hand, pictures that fit the page."""

import io
import json
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from support import synthetic
from support.project import MINI

from zsr.evaluation import gallery
from zsr.evaluation.attention import class_attention
from zsr.evaluation.cell import ZeroShot
from zsr.methods.vp_token import VPToken
from zsr.models.backbone import build
from zsr.plan import gallery_cells
from zsr.plan.plan import Plan
from zsr.registry import PACKAGE
from zsr.report.page import gallery as packed


def tower(name):
    arch = yaml.safe_load((PACKAGE / "models" / "archs" / f"{name}.yaml").read_text(encoding="utf-8"))
    return build(arch, seed=3).clip.visual.eval()


def by_hand(visual, x):
    """softmax(q k / sqrt(d)) of the last layer in float64, one head and one image after another."""
    visual = visual.double()
    caught = []
    block = visual.transformer.resblocks[-1]
    handle = block.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    with torch.no_grad():
        visual(x.double())
    handle.remove()
    normed = block.ln_1(caught[0])  # [B, L, W]
    weight, bias, heads = block.attn.in_proj_weight, block.attn.in_proj_bias, block.attn.num_heads
    width = weight.shape[1]
    size = width // heads
    found = []
    for tokens in normed:
        total = 0
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            q = tokens[0] @ weight[:width][rows].T + bias[:width][rows]
            k = tokens @ weight[width : 2 * width][rows].T + bias[width : 2 * width][rows]
            total = total + torch.softmax(k @ q / size**0.5, 0)
        found.append((total / heads)[1:])
    return torch.stack(found)


def test_attention_is_that_of_the_class_token_in_the_last_layer():
    visual, x = tower("drawn-vit"), torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = class_attention(visual, x)
    assert found.shape == (3, *visual.grid_size)
    with torch.no_grad():
        before = visual(x)
    assert torch.allclose(found.flatten(1).double(), by_hand(visual, x).detach(), atol=1e-6)
    assert torch.allclose(visual(x.double()).float(), before, atol=1e-4)  # nothing was left hooked in


def test_prompts_are_left_out_of_the_map_and_a_resnet_has_none():
    visual, x = tower("drawn-vit"), torch.rand(2, 3, 32, 32)
    found = class_attention(VPToken(tokens=4).wrap(visual, seed=0), x)
    assert found.shape == (2, *visual.grid_size)
    assert (found.flatten(1).sum(1) < class_attention(visual, x).flatten(1).sum(1)).all()  # four more share it
    assert class_attention(tower("drawn-rn"), x) is None


def test_a_look_says_what_the_model_says():
    visual = tower("drawn-rn")
    head = torch.randn(7, 64, generator=torch.Generator().manual_seed(1))
    net = ZeroShot(visual, head, 10.0).eval()
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    x_adv = (x + 4 / 255 * torch.randn(x.shape).sign()).clamp(0, 1)
    mean, std = torch.tensor([0.48] * 3), torch.tensor([0.2] * 3)
    looks = gallery.look(net, mean, std, x, x_adv, 4 / 255)
    for i, seen in enumerate(looks):
        features = visual((x[i : i + 1] - 0.48) / 0.2)[0]
        cosines = torch.stack([features @ h / features.norm() / h.norm() for h in head])
        p = (10 * cosines).exp() / (10 * cosines).exp().sum()
        order = p.argsort(descending=True)[:5]
        assert [c for c, _ in seen.before] == order.tolist()
        assert [q for _, q in seen.before] == pytest.approx(p[order].tolist(), abs=1e-4)
        assert np.array_equal(seen.image, (x[i] * 255).round().numpy())
        wanted = ((x_adv[i] - x[i]) / (4 / 255) * 127.5 + 127.5).clamp(0, 255)
        assert np.abs(seen.perturbation - wanted.numpy()).max() <= 0.51
        assert seen.attention is None and seen.times == 31.9


@pytest.mark.parametrize("eps", [0.5, 3.0])
def test_a_perturbation_in_another_norm_is_amplified_by_its_own_largest_change(eps):
    """ε bounds the length of the whole change there: 0.5 / ε would show pixels as grey, and times 0 from ε = 1 on."""
    net = ZeroShot(tower("drawn-rn"), torch.randn(7, 64), 10.0).eval()
    x = torch.full((3, 3, 32, 32), 0.5)
    x_adv = x.clone()
    x_adv[0, 1, 2, 3], x_adv[1, 0, 0, 0], x_adv[1, 0, 0, 1] = 0.625, 0.75, 0.375
    looks = gallery.look(net, torch.tensor([0.48] * 3), torch.tensor([0.2] * 3), x, x_adv, eps, "l2")
    assert [seen.times for seen in looks] == [4.0, 2.0, float(f"{0.5 / eps:.3g}")]
    assert looks[0].perturbation[1, 2, 3] == 255 and (looks[0].perturbation == 128).sum() == 3 * 32 * 32 - 1
    assert looks[1].perturbation[0, 0, :2].tolist() == [255, 64]
    assert (looks[2].perturbation == 128).all()


def test_the_factor_of_each_picture_reaches_the_page():
    entries, pictures, labels = synthetic.gallery(count=3)
    entries[0] |= {"eps": "3", "times": 1.25}
    assert packed.pack(entries, pictures, labels)["entries"][0]["times"] == 1.25


def test_large_pictures_are_averaged_down():
    image = torch.rand(3, 224, 200)
    small = gallery.picture(image)
    assert small.shape == (3, 75, 67)
    assert abs(int(small[1, 4, 5]) - float(image[1, 12:15, 15:18].mean()) * 255) <= 0.51


def row(label, clean, robust):
    return {"label": label, "clean": clean, "robust": robust}


def test_images_are_drawn_by_seed_and_one_without_its_example_is_passed_over():
    rows = {10 * i: row(0, 0, i % 3 == 0) for i in range(30)}
    everything = gallery.draw(rows, {i for i in rows if not rows[i]["robust"]}, 8, 0, "shape")
    assert everything == gallery.draw(dict(reversed(rows.items())), set(rows), 8, 0, "shape")
    assert everything != gallery.draw(rows, set(rows), 8, 1, "shape")
    assert everything != gallery.draw(rows, set(rows), 8, 0, "colour")
    few = gallery.draw(rows, {10}, 30, 0, "shape")
    assert set(few) == {i for i in rows if rows[i]["robust"]} | {10}


def test_fates():
    assert gallery.fate(1, 2, False, 0)[0] == "wrong"
    assert gallery.fate(1, 1, True, -1)[0] == "stood"
    assert gallery.fate(1, 1, False, 4) == ("fell", "fell at step 4")


def configured(**changes):
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    config["protocols"][0] |= {"store": "examples"} | changes
    return Plan(config)


def test_the_plan_draws_whole_sets_and_one_attack_for_all_models_of_a_set():
    plan = configured()
    by_set = {}
    for cell in plan.gallery_cells:
        by_set.setdefault(cell.wildcards["dataset"], []).append(cell)
    assert set(by_set) == set(plan.config.protocols["mini"].datasets)
    for cells in by_set.values():
        assert len({(c.wildcards["attack"], c.wildcards["eps"]) for c in cells}) == 1
        assert len({c.wildcards["model"] for c in cells}) == len(cells) == 6
    assert [c.record for c in configured().gallery_cells] == [c.record for c in plan.gallery_cells]


def test_the_plan_shows_no_more_than_fits(monkeypatch):
    monkeypatch.setattr(gallery_cells, "LIMIT", 13)  # two of the three sets
    plan = configured()
    assert len(plan.gallery_cells) == 12
    assert len({c.wildcards["dataset"] for c in plan.gallery_cells}) == 2
    assert not configured(store="none").gallery_cells


def test_pictures_are_packed_once_and_the_budget_holds(monkeypatch):
    entries, pictures, labels = synthetic.gallery(count=12)
    whole = packed.pack(entries, pictures, labels)
    assert whole["left"] == 0 and len(whole["entries"]) == 12
    originals = {entry["image"] for entry in whole["entries"]}
    assert len(originals) < 12  # models share them
    assert len(whole["pictures"]) == len(set(whole["pictures"]))
    monkeypatch.setattr(packed, "BUDGET", len("".join(whole["pictures"])) // 3)
    cut = packed.pack(entries, pictures, labels)
    assert 0 < len(cut["entries"]) < 12 and cut["left"] == 12 - len(cut["entries"])


def test_shade_is_dark_where_nobody_looks():
    image = Image.open(io.BytesIO(packed.shadow(np.array([[255, 0], [128, 255]], np.uint8))))
    alpha = np.asarray(image)[..., 3]
    assert alpha[0, 0] == alpha[1, 1] == 0
    assert alpha[0, 1] > 200 > alpha[1, 0] > 80
    picture = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(packed.png(picture)))).transpose(2, 0, 1), picture)


@pytest.mark.slow
def test_a_finished_gallery_agrees_with_the_rows(finished):
    plan = Plan(finished.config)
    entries = json.loads(finished.path("results/gallery/entries.json").read_text(encoding="utf-8"))
    with np.load(finished.path("results/gallery/pictures.npz")) as file:
        pictures = {name: file[name] for name in file.files}
    cells = {(c.wildcards["model"], c.wildcards["dataset"]): c for c in plan.gallery_cells}
    assert {(e["id"], e["dataset"]) for e in entries} == set(cells)
    for entry in entries:
        cell = cells[entry["id"], entry["dataset"]]
        table = pq.read_table(finished.path(f"results/{cell.outputs['rows']}")).to_pandas().set_index("index")
        row, classes = table.loc[entry["index"]], plan.config.datasets[entry["dataset"]].classes
        assert entry["label"] == classes[row["label"]]
        assert entry["before"][0][0] == classes[row["clean"]]
        wanted = "wrong" if row["clean"] != row["label"] else "stood" if row["robust"] else "fell"
        assert entry["fate"] == wanted
        if entry["after"]:
            assert entry["after"][0][0] == classes[row["adversarial"]]
            change = pictures[str(entry["adversarial"])].astype(int) - pictures[str(entry["image"])]
            assert 0 < np.abs(change).max() <= float(Fraction(entry["eps"])) * 255 + 1
        assert bool(entry["attention"]) is entry["backbone"].startswith("vit")
    for dataset in {e["dataset"] for e in entries}:  # every model on the same images
        shown_to = {e["id"]: {f["index"] for f in entries if (f["id"], f["dataset"]) == (e["id"], dataset)}
                    for e in entries}  # fmt: skip
        assert len({frozenset(images) for images in shown_to.values()}) == 1

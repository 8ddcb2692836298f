"""Tables from synthetic results: what they hold, what is averaged, what is marked, and what raises an alarm."""

import copy

import numpy as np
import pandas as pd
import pytest
from support import synthetic

from zsr.errors import ZsrError
from zsr.report import csv_tables
from zsr.report.headline import UNION, pick
from zsr.report.tables import alarms, comparisons
from zsr.report.tables.build import build_tables
from zsr.report.tables.statistics import mcnemar, wilson


@pytest.fixture(scope="module")
def results():
    return synthetic.make(attacks=("pgd-10", "autoattack"), seeds=(0, 1))


@pytest.fixture(scope="module")
def built(results):
    return build_tables(results.cells, results.rows, results.models)


def spoil(results, where, change):
    """Results with the rows of the matching cells changed, and their summaries made to agree."""
    spoilt = synthetic.Results(copy.deepcopy(results.cells), dict(results.frames), results.models)
    hit = 0
    for cell in spoilt.cells:
        if where(cell):
            frame = change(spoilt.frames[cell["spec_hash"]].copy())
            spoilt.frames[cell["spec_hash"]] = frame
            cell["n"], cell["robust_correct"] = len(frame), int(frame["robust"].sum())
            cell["clean_correct"] = int((frame["clean"] == frame["label"]).sum())
            hit += 1
    assert hit, "the test changes nothing"
    return spoilt


def is_cell(model="resnet-tiny-tecoa-0", dataset="shape", attack="pgd-10", eps="2/255"):
    def same(c):
        return (c["model"]["id"], c["dataset"]["name"], c["attack"]["label"], c["eps"]) == (model, dataset, attack, eps)

    return same


def stand(frame, count):
    """The first `count` fallen images of right clean prediction stand after all."""
    fallen = frame.index[(~frame["robust"]) & (frame["clean"] == frame["label"])][:count]
    frame.loc[fallen, "robust"] = True
    frame.loc[fallen, "adversarial"] = frame.loc[fallen, "label"]
    frame.loc[fallen, ["margin", "step"]] = [0.5, -1]
    return frame


def kinds(built):
    return set(built["alarms"]["kind"])


def test_cells_are_tidy_and_agree_with_the_rows(results, built):
    cells = built["cells"]
    real = cells[cells["attack_name"] != "union"]
    assert len(real) == len(results.cells)
    for summary, (_, line) in zip(results.cells, real.iterrows(), strict=True):
        assert line["clean"] == summary["clean_correct"] / summary["n"]
        assert line["robust"] == summary["robust_correct"] / summary["n"]
        assert (line["robust_lo"], line["robust_hi"]) == wilson(line["robust"], summary["n"])
        assert line["passes"] == sum(summary["passes"].values())


def test_the_union_stands_only_where_all_attacks_failed(results, built):
    cells = built["cells"]
    line = cells[(cells["attack"] == UNION) & (cells["id"] == "resnet-tiny-tecoa-0") & (cells["dataset"] == "shape")]
    line = line[line["eps"] == "2/255"].iloc[0]
    parts = [results.rows(c)["robust"] for c in results.cells
             if is_cell(attack="pgd-10")(c) or is_cell(attack="autoattack")(c)]  # fmt: skip
    assert len(parts) == 2
    assert line["robust"] == (parts[0] & parts[1]).mean()
    assert line["robust"] < max(part.mean() for part in parts)


def test_means_average_zero_shot_sets_and_the_unrelated_ones(built):
    sets, methods = built["sets"], built["methods"]
    for scope, names in (
        ("zero-shot", synthetic.SETS[1:4]),
        ("unrelated", synthetic.SETS[2:4]),
        ("source", ["source"]),
    ):
        for _, line in methods[methods["scope"] == scope].iterrows():
            part = sets[(sets[["model", "attack", "eps"]] == line[["model", "attack", "eps"]]).all(axis=1)]
            part = part[part["dataset"].isin(names)]
            assert line["sets"] == len(names)
            assert line["robust"] == pytest.approx(part["robust"].mean())
            assert line["clean"] == pytest.approx(part["clean"].mean())
            assert line["robust_lo"] <= line["robust"] <= line["robust_hi"]


def test_seeds_give_a_deviation_and_one_seed_gives_none(built):
    cells, methods = built["cells"], built["methods"]
    line = methods.query("model == 'tecoa' and attack == 'pgd-10' and eps == '2/255' and scope == 'zero-shot'").iloc[0]
    part = cells.query("name == 'tecoa' and attack == 'pgd-10' and eps == '2/255' and not is_source")
    assert line["robust_sd"] == pytest.approx(part.groupby("seed")["robust"].mean().std())
    alone = synthetic.make()
    assert build_tables(alone.cells, alone.rows)["methods"]["robust_sd"].isna().all()


def test_paired_counts_disagreements_on_the_same_images():
    results = synthetic.make()
    pairs = build_tables(results.cells, results.rows)["paired"]
    line = pairs.query("a == 'tecoa' and b == 'pmg-aft' and dataset == 'shape' and eps == '2/255'").iloc[0]
    ours = results.rows(next(filter(is_cell(), results.cells)))["robust"]
    theirs = results.rows(next(filter(is_cell("resnet-tiny-pmg-aft-0"), results.cells)))["robust"]
    assert (line["only_a"], line["only_b"]) == ((ours & ~theirs).sum(), (~ours & theirs).sum())
    assert line["p"] == pytest.approx(mcnemar(line["only_a"], line["only_b"]))
    assert line["difference"] == pytest.approx(ours.mean() - theirs.mean())
    assert line["lo"] <= line["difference"] <= line["hi"]
    family = pairs.query("scope == 'set' and quantity == 'robust' and eps == '2/255'")
    assert len(family) == 3 * 4  # pairs × sets, corrected together
    assert (family["p_holm"] >= family["p"]).all()
    smallest = family["p"].idxmin()
    assert family.loc[smallest, "p_holm"] == pytest.approx(min(1, len(family) * family.loc[smallest, "p"]))


def test_paired_never_crosses_backbones_or_protocols():
    one, two = synthetic.make(backbones=("r", "v")), synthetic.make(protocol="caw")
    both = synthetic.Results(one.cells + two.cells, one.frames | two.frames, one.models + two.models)
    built = build_tables(both.cells, both.rows)
    keys = ["protocol", "backbone"]
    models = built["sets"].groupby(keys)["model"].unique()
    for key, part in built["paired"].groupby(keys):
        assert set(part["a"]) | set(part["b"]) <= set(models[key])
    assert set(map(tuple, built["methods"][keys].to_numpy())) == {("zsr", "r"), ("zsr", "v"), ("caw", "resnet-tiny")}


def test_the_best_is_marked_and_what_cannot_be_told_from_it_ties(built):
    sets, pairs = built["sets"], built["paired"].query("quantity == 'robust' and scope == 'set'")
    seen = set()
    for (attack, eps, dataset), column in sets.groupby(["attack", "eps", "dataset"]):
        best = column["robust"].max()
        leader = column.loc[column["robust"].idxmax(), "model"]
        tests = pairs[(pairs["attack"] == attack) & (pairs["eps"] == eps) & (pairs["dataset"] == dataset)]
        for _, line in column.iterrows():
            pair = tests[[{a, b} == {leader, line["model"]} for a, b in zip(tests["a"], tests["b"], strict=True)]]
            expected = "best" if line["robust"] == best else "tie" if pair.iloc[0]["p_holm"] >= 0.05 else ""
            assert line["robust_mark"] == expected
            seen.add(expected)
    assert seen == {"best", "tie", ""}


def test_of_equals_none_is_best():
    pairs = comparisons.paired([], {}, {})
    key = ("zsr", "vit", "robust", "pgd-10", "16/255", "set", "a")
    shares, bounds = dict.fromkeys("abc", 0.0), dict.fromkeys("abc", (0.0, 0.1))
    assert comparisons.Marks(pairs).mark(key, shares, bounds) == dict.fromkeys("abc", "")
    assert comparisons.Marks(pairs).mark(key, shares | {"b": 0.05}, bounds) == {"a": "tie", "b": "best", "c": "tie"}


def test_one_name_with_several_training_eps_is_told_apart():
    results = synthetic.make(models=["clip", "tecoa"])
    more = synthetic.make(models=["clip", "tecoa"])
    for cell in more.cells:
        cell["model"] |= {"id": cell["model"]["id"] + "-wide", "train_eps": "4/255"}
    both = [*results.cells, *(c for c in more.cells if c["model"]["name"] == "tecoa")]
    built = build_tables(both, results.rows)
    assert list(built["sets"]["model"].unique()) == ["clip", "tecoa (2/255)", "tecoa (4/255)"]


def test_fooled_curves_start_at_clean_and_end_at_robust(built):
    methods = built["methods"].query("scope == 'zero-shot' and attack == 'pgd-10'").set_index(["model", "eps"])
    for (model, eps), curve in built["fooled"].groupby(["model", "eps"]):
        robust = curve.sort_values("step")["robust"].to_numpy()
        assert robust[0] == pytest.approx(methods.loc[(model, eps), "clean"])
        assert robust[-1] == pytest.approx(methods.loc[(model, eps), "robust"])
        assert (np.diff(robust) <= 0).all()
    assert set(built["fooled"]["attack"]) == {"pgd-10"}  # AutoAttack has no one count of steps


@pytest.mark.parametrize("more", [{"restarts": 5}, {"targets": 9}])
def test_fooled_leaves_out_attacks_of_several_runs(results, more):
    cells = copy.deepcopy(results.cells)
    for cell in cells:
        cell["attack"] |= more
    assert build_tables(cells, results.rows)["fooled"].empty


def test_a_model_without_training_has_no_seed(results):
    cells = copy.deepcopy(results.cells)
    for cell in cells:
        if cell["model"]["name"] == "clip":
            cell["model"]["seed"] = None
    assert "clip" in set(build_tables(cells, results.rows)["methods"]["model"])


def test_clean_results_raise_no_alarm(built):
    assert built["alarms"].empty, built["alarms"].to_string()


def test_alarm_when_robustness_rises_with_eps(results):
    built = build_tables(*_args(spoil(results, is_cell(), lambda f: stand(f, 90))))
    alarm = built["alarms"].query("kind == 'robustness rises with ε'").iloc[0]
    assert (alarm["severity"], alarm["model"], alarm["dataset"]) == ("alarm", "tecoa", "shape")


def test_alarm_when_pgd_stands_far_above_autoattack(results):
    built = build_tables(*_args(spoil(results, is_cell(), lambda f: stand(f, 40))))
    assert "far above AutoAttack" in kinds(built)


def test_alarm_when_a_black_box_is_stronger(results):
    square = spoil(results, is_cell(), lambda f: stand(f, 40))
    for cell in square.cells:
        if cell["attack"]["label"] == "autoattack":
            cell["attack"] = {"name": "square", "label": "square"}
    assert "black box below white box" in kinds(build_tables(*_args(square)))


SIGNS = {
    "zero gradients": {"signs": {"pgd": {"images": 100, "zero_gradient": 6, "ended": 0}}},
    "loss does not rise": {
        "signs": {"pgd": {"images": 100, "zero_gradient": 0, "ended": 50, "first": 2.0, "last": 1.9, "rose": 30}}
    },
    "precisions disagree": {"unconfirmed": 2},
}


@pytest.mark.parametrize("kind", SIGNS)
def test_alarm_when_the_passes_show_a_hidden_gradient(results, kind):
    cells = copy.deepcopy(results.cells)
    next(filter(is_cell(), cells)).update(SIGNS[kind])
    (line,) = build_tables(cells, results.rows)["alarms"].query("kind == @kind").to_dict("records")
    assert (line["severity"], line["model"], line["dataset"], line["eps"]) == ("alarm", "tecoa", "shape", "2/255")


@pytest.mark.parametrize(
    "fine",
    [
        {"signs": {"pgd": {"images": 100, "zero_gradient": 5, "ended": 0}}},
        {"signs": {"pgd": {"images": 100, "zero_gradient": 0, "ended": 9, "first": 2.0, "last": 1.9, "rose": 0}}},
        {"signs": {}},
    ],
)
def test_no_alarm_without_a_sign(results, fine):
    cells = copy.deepcopy(results.cells)
    next(filter(is_cell(), cells)).update(fine)
    assert build_tables(cells, results.rows)["alarms"].empty


def test_a_chained_black_box_inherits_its_falls(results):
    square = spoil(results, is_cell(), lambda f: stand(f, 40))
    for cell in square.cells:
        if cell["attack"]["label"] == "autoattack":
            cell["attack"], cell["follows"] = {"name": "square", "label": "square (after pgd-10)"}, "pgd-10 2/255"
    assert "black box below white box" not in kinds(build_tables(*_args(square)))


def test_alarm_when_an_average_is_not_that_of_its_entries(built):
    measured = alarms.wrong_means
    scopes = {}
    for (protocol, attack, eps), part in built["sets"].groupby(["protocol", "attack", "eps"]):
        names = list(dict.fromkeys(part["dataset"]))
        scopes[protocol, attack, eps] = {
            "all": names,
            "zero-shot": names[1:],
            "unrelated": names[2:],
            "source": names[:1],
        }
    assert measured(built["sets"], built["methods"], scopes) == []
    wrong = built["methods"].copy()
    wrong.loc[3, "robust"] += 0.001
    (line,) = measured(built["sets"], wrong, scopes)
    assert line.kind == "average is not that of its entries"
    assert line.model == wrong.loc[3, "model"]


def test_alarm_when_clean_accuracy_differs_between_cells(results):
    def other(frame):
        frame.loc[:9, "clean"] = frame.loc[:9, "label"] + 1
        frame.loc[:9, "robust"] = False
        frame.loc[:9, ["adversarial"]] = frame.loc[:9, ["label"]].to_numpy() + 1
        return frame.assign(margin=np.where(frame["robust"], 0.5, -0.5).astype("float32"))

    alarms = build_tables(*_args(spoil(results, is_cell(), other)))["alarms"]
    assert (alarms.query("kind == 'clean differs'")["severity"] == "alarm").any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign(distance=np.float32(0.01)), "outside their ball"),
        (lambda f: f.assign(adversarial=f["label"]), "contradict the prediction"),
        (lambda f: f.assign(robust=True, adversarial=f["label"]), "count as robust though"),
        (lambda f: f.assign(margin=np.float32("nan")), "not finite"),
        (lambda f: f.assign(index=0), "occurs twice"),
    ],
)  # fmt: skip
def test_rows_that_contradict_themselves(results, change, words):
    alarms = build_tables(*_args(spoil(results, is_cell(), change)))["alarms"]
    assert alarms.query("kind == 'rows contradict the summary'")["message"].str.contains(words).any()


def test_a_summary_that_its_rows_contradict(results):
    cells = copy.deepcopy(results.cells)
    cells[0]["robust_correct"] += 1
    alarms = build_tables(cells, results.rows)["alarms"]
    assert "rows contradict the summary" in set(alarms["kind"])


def test_an_attack_that_does_nothing_and_one_that_is_not_finished(results):
    idle = spoil(results, is_cell(), lambda f: stand(f, 10**6))
    assert "attack without effect" in kinds(build_tables(*_args(idle)))
    late = spoil(results, is_cell(), lambda f: f.assign(step=f["step"].where(f["step"] < 1, 10)))
    assert "attack not converged" in kinds(build_tables(*_args(late)))
    assert not build_tables(*_args(late))["fooled"].empty
    for cell in late.cells:  # every image that has fallen did so at the end: that is where one looked
        cell["spec"]["verdict"] = "last"
    found = build_tables(*_args(late))
    assert "attack not converged" not in kinds(found) and found["fooled"].empty


def handful(frame):
    """Three images are right, and stand."""
    right = (frame.index < 3).astype(int)
    frame["clean"] = frame["adversarial"] = frame["label"] + 1 - right
    frame["robust"], frame["step"] = right == 1, -right
    return frame.assign(margin=np.float32(right - 0.5))


def test_a_handful_of_correct_images_that_all_stand_is_no_alarm(results):
    lines = build_tables(*_args(spoil(results, is_cell(), handful)))["alarms"]
    assert list(lines.query("kind == 'attack without effect'")["severity"]) == ["note"]


def test_a_missing_set_leaves_out_the_mean_and_says_so(results):
    cells = [c for c in results.cells if (c["model"]["name"], c["dataset"]["name"]) != ("tecoa", "shape")]
    built = build_tables(cells, results.rows)
    mine = built["methods"].query("model == 'tecoa' and scope == 'zero-shot'")
    assert mine["robust"].isna().all()
    assert (built["methods"].query("model == 'pmg-aft'")["robust"]).notna().all()
    assert "no mean" in kinds(built)


def test_other_images_are_never_paired(results):
    moved = spoil(results, lambda c: c["model"]["name"] == "tecoa", lambda f: f.assign(index=f["index"] + 1))
    built = build_tables(*_args(moved))
    assert "tecoa" not in set(built["paired"]["a"]) | set(built["paired"]["b"])
    assert "other images" in kinds(built)


def test_missing_keys_name_the_cell(results):
    cells = copy.deepcopy(results.cells)
    del cells[3]["dataset"]["is_source"]
    with pytest.raises(ZsrError, match=r"results/eval/.*is_source"):
        build_tables(cells, results.rows)


def test_hostile_names_survive_csv_unchanged():
    results = synthetic.make(
        models=["clip", synthetic.HOSTILE, synthetic.RUDE, "NA", "007"], sets=["source", "nan", "1e5"]
    )
    for name, table in build_tables(results.cells, results.rows, results.models).items():
        again = csv_tables.loads(csv_tables.dumps(table))
        if len(table):
            pd.testing.assert_frame_equal(again, table, check_dtype=False, rtol=1e-8)
        assert csv_tables.dumps(again) == csv_tables.dumps(table), name
        assert list(again.columns) == list(table.columns)


def test_equal_results_give_equal_bytes(results, built):
    again = build_tables(results.cells, results.rows, results.models)
    assert all(csv_tables.dumps(again[name]) == csv_tables.dumps(built[name]) for name in built)


def test_the_headline_is_the_union_at_the_eps_of_training(results, built):
    assert pick(built["cells"]) == (UNION, "2/255")
    alone = synthetic.make(attacks=("autoattack",), eps=("1/255",))
    assert pick(build_tables(alone.cells, alone.rows)["cells"]) == ("autoattack", "1/255")


def _args(results):
    return results.cells, results.rows, results.models

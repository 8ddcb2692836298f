"""Rows, questions and the log of `benchmarks/on_gpu.py`."""

import json
import re

import gpu_log
import pytest
from gpu.questions import QUESTIONS
from gpu.rows import WHOLE_CASE, Rows, latest, of_one_machine, read, spread
from on_gpu import PARTS


def test_every_question_has_a_text_of_its_own_and_a_prediction():
    for question in QUESTIONS:
        assert re.search(r"\d", question.predicted), question.text
        assert question.part in PARTS
        assert "|" not in question.text + question.predicted, "it becomes a cell of a table"
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS)


H100 = {"card": "NVIDIA H100 80GB HBM3", "driver": "580.1", "torch": "2.11.0", "triton": "3.6.0", "tiny": False}


def row(part: str, case: str, side: str, value: float | None, unit: str, **more) -> dict:
    found = {"part": part, "case": case, "side": side, "value": value, "unit": unit}
    return found | H100 | {"date": "2027-01-01"} | more


def test_cases_of_another_card_or_software_are_measured_again(tmp_path):
    earlier = [row("copy", "device copy", "torch", 1.0, "GB/s"), row("copy", "device copy", "", 3.0, WHOLE_CASE)]
    for change in ({}, {"card": "NVIDIA H200"}, {"triton": "3.7.0"}, {"tiny": True}):
        finished = Rows(tmp_path / "rows.jsonl", H100 | change, earlier).finished
        assert finished == (set() if change else {("copy", "device copy")})


def test_a_case_that_was_cut_off_is_measured_again(tmp_path):
    earlier = [row("pgd", "B/32, batch 256", "engine fp16", 1.0, "image-steps/s")]
    assert Rows(tmp_path / "rows.jsonl", H100, earlier).finished == set()


def test_the_table_is_of_one_machine():
    old, new = row("copy", "device copy", "torch", 4.0, "GB/s", card="NVIDIA H200"), row("copy", "a", "b", 1.0, "ms")
    error = row("train", "", "", None, "", error="killed", card="")
    assert of_one_machine([old, error, new]) == [error, new]
    assert of_one_machine([error]) == [error]


def test_nan_is_refused(tmp_path):
    rows = Rows(tmp_path / "rows.jsonl", H100)
    with pytest.raises(ValueError, match="the GB/s is nan"):
        rows.write("copy", "device copy", "torch", float("nan"), "GB/s")
    assert not (tmp_path / "rows.jsonl").exists()


def test_an_error_is_dropped_when_its_case_was_measured_later():
    failed, killed = row("pgd", "a", "", None, "", error="x"), row("pgd", "", "", None, "", error="killed")
    measured = row("pgd", "a", "eager", 2.0, "ms")
    assert latest([failed, killed, measured]) == [measured]
    assert latest([measured, failed, killed]) == [measured, failed, killed]


def test_spread_is_half_of_the_middle_three_fifths():
    assert spread([5.0]) == 0.0
    assert spread([float(k) for k in range(11)]) == 3.0


def test_a_goal_is_compared_with_the_worst_case():
    (question,) = [q for q in QUESTIONS if q.text.startswith("`linf_step`, 256")]
    rows = [row("kernels", f"linf_step, 256 × 3 × 224², {g} gradient", "triton", v, "of the copy")
            for g, v in (("fp16", 0.95), ("fp32", 0.85))]  # fmt: skip
    assert question.answer(rows[:1]) == "0.95: met"
    missed = question.answer(rows)
    assert missed.startswith("0.85 to 0.95 in 2 cases: missed (linf_step, 256 × 3 × 224², fp32 gradient")
    assert question.answer([]) == ""


def test_ratios_are_of_two_rows():
    (question,) = [q for q in QUESTIONS if q.text.startswith("peak memory of CAW")]
    rows = [row("train", f"{name}, batch 128, 1000 classes", "ours", value, "MB")
            for name, value in (("caw", 6.0), ("pmg-aft", 8.0))]  # fmt: skip
    assert question.answer(rows) == "0.75: met"
    (question,) = [q for q in QUESTIONS if q.text.endswith("the authors' time in fp32 over ours in fp16")]
    rows = [row("autoattack", "B/32, 128 images", side, value, "s")
            for side, value in (("pyautoattack fp32", 40.0), ("standard fp16", 8.0))]  # fmt: skip
    assert question.answer(rows) == "5: missed"
    assert question.answer(rows[:1]) == "", "without the other side there is no ratio"


def test_the_log_is_made_of_the_committed_rows():
    page = gpu_log.PAGE.read_text(encoding="utf-8")
    rows = gpu_log.committed()
    assert gpu_log.page(page, rows) == page, "run python benchmarks/gpu_log.py"
    measured = [row for row in rows if "error" not in row and row["unit"] != WHOLE_CASE]
    assert all(any(question.uses(row) for question in QUESTIONS) for row in measured)


def test_a_run_is_stored_under_its_card(tmp_path):
    path, folder = tmp_path / "rows.jsonl", tmp_path / "kept"
    path.write_text(json.dumps(row("copy", "device copy", "torch", 3012.0, "GB/s")) + "\n", encoding="utf-8")
    kept = gpu_log.store_run(path, folder)
    assert kept.name == "nvidia-h100-80gb-hbm3-2027-01-01.jsonl"
    text = gpu_log.table(read([kept]))
    assert "| 3,000 | 3,012 | NVIDIA H100 80GB HBM3, 2027-01-01 |" in text
    assert text.count("| open |") == len(QUESTIONS) - 1
    path.write_text(
        path.read_text(encoding="utf-8") + json.dumps(row("copy", "device copy", "", 3.0, WHOLE_CASE)) + "\n",
        encoding="utf-8",
    )
    assert gpu_log.store_run(path, folder) == kept, "the same run, which has gone on"
    path.write_text(json.dumps(row("copy", "device copy", "torch", 3013.0, "GB/s")) + "\n", encoding="utf-8")
    assert gpu_log.store_run(path, folder).name == "nvidia-h100-80gb-hbm3-2027-01-01-2.jsonl"


@pytest.mark.parametrize("change, reason", [({"tiny": True}, "a tiny run"), ({"driver": ""}, "no row of a GPU")])
def test_rows_without_meaning_are_not_stored(change, reason, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row("copy", "device copy", "torch", 1.0, "GB/s") | change) + "\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=reason):
        gpu_log.store_run(path, tmp_path / "kept")

"""The names that Snakemake gives to the files of its memory, in both directions."""

from pathlib import Path

import pytest

from zsr.checks.snakemake_memory import name_of_output, output_of_name, unfinished_outputs

LONG = "results/" + "a" * 150 + "/" + "ε" * 150 + "/manifest.json"


@pytest.mark.parametrize("output", ["results/report.json", "results/ε_2.json", LONG])
def test_a_name_gives_its_output_again(output):
    assert output_of_name(Path(name_of_output(output))) == output


def test_unfinished_outputs_are_those_with_a_marker_while_snakemake_holds_its_lock(tmp_path):
    for output in ("results/a.json", LONG):
        marker = tmp_path / "incomplete" / name_of_output(output)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    assert unfinished_outputs(tmp_path) == set(), "without a lock the markers are of a run that ended"
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0.output.lock").touch()
    assert unfinished_outputs(tmp_path) == {"results/a.json", LONG}

"""Which files count in the fingerprint of each kind of job, pinned: a file that drops out would leave stale results,
one that slips in would make results again for nothing."""

import yaml
from support.closures import PINNED, closures

from zsr.storage.layout import OUTPUTS


def test_every_kind_of_job_counts_exactly_the_files_that_are_pinned() -> None:
    pinned = yaml.safe_load(PINNED.read_text(encoding="utf-8"))
    found = closures()
    assert found.keys() == pinned.keys() == OUTPUTS.keys()
    for rule in pinned:
        assert found[rule] == pinned[rule], f"{rule}: review, then run `python -m tests.support.closures`"


def test_files_that_are_not_python_are_among_them() -> None:
    """The list of words that makes a vocabulary, the report's page, the numbers of papers."""
    found = closures()
    assert "zsr/models/words.txt" in found["evaluate"]["data"]
    assert "zsr/report/page/page.html" in found["report"]["data"]
    assert any(name.startswith("resources/") for name in found["tables"]["data"])

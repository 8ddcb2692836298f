"""kill -9 at random moments: the bytes of an undisturbed run, and nothing that was finished is made again.

A handful here, over all kinds of jobs; `python benchmarks/faults.py` kills fifty times (docs/faults.md).
"""

import pytest
import yaml
from support.killing import digests, torment
from support.project import MINI

from zsr.plan.plan import Plan

pytestmark = pytest.mark.slow


def test_killed_at_random_moments(project, finished):
    config = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    config["backbones"] = config["backbones"][:1]
    config["models"] = [model for model in config["models"] if model["name"] != "ce"]
    config["protocols"][0] |= {"datasets": ["drawn-colour"], "attacks": config["protocols"][0]["attacks"][:1]}
    project.configure(config)
    report = torment(project, ["prepare", "pretrain", "finetune", "evaluate", "report"], seed=0)
    assert len(report.kills) >= 4, "the run was too quick to be disturbed"
    assert report.orphans == 0
    assert report.again == []
    undisturbed = digests(finished, Plan(finished.config))
    for record, found in report.digests.items():
        if not record.startswith(("tables/", "gallery/")):  # of other cells
            assert found == undisturbed[record], record
    assert "0 wrong, 0 not there" in project.zsr("verify", "--seals")

"""Fixtures for tests of the page: synthetic results with hostile names, and their page."""

import pytest
from support import synthetic
from support.pages import render


@pytest.fixture(scope="module")
def results():
    names = ["clip", "tecoa", synthetic.HOSTILE, synthetic.RUDE, "</script><!--"]
    return synthetic.make(
        models=names, sets=["source", synthetic.HOSTILE, synthetic.RUDE, "shape"], attacks=("pgd-10", "autoattack"),
        backbones=("resnet-tiny", "<b>vit</b>"), seeds=(0, 1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def rendered(results):
    return render(results)

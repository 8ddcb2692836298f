"""`zsr verify` of cells on a split that stays encoded: its pictures are decoded as the cells have decoded them."""

import pytest
from support import archives

pytestmark = pytest.mark.slow


def test_examples_of_an_encoded_split_are_scored_again(project, tmp_path):
    for i in range(24):
        path = tmp_path / "data" / "own" / ("circle", "square")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archives.picture(i, kind="PNG"))
    config = project.config
    config["data_root"] = str(tmp_path / "data")
    own = {"name": "own", "reader": "folder", "options": {"inside": ""}, "splits": {"test": 24}}
    config["data"].append({**own, "classes": ["circle", "square"], "encoded": ["test"]})
    config["backbones"], config["models"] = config["backbones"][1:], config["models"][:1]
    attacks = [{"name": "pgd", "attack": "pgd", "steps": 20}]
    config["protocols"] = [
        {"name": "own", "datasets": ["own"], "attacks": attacks, "eps": ["64/255"], "transform": "32-bilinear",
         "images": 24, "store": "examples"}
    ]  # fmt: skip
    project.configure(config)
    project.snakemake()
    said = project.zsr("verify")
    assert ", 0 wrong, 0 not there" in said and " 0 stored examples" not in said, said

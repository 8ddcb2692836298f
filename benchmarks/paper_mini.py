"""config/paper.yaml in miniature: its models and protocols through the whole pipeline, on ViT-B/32 and RN50.

    python benchmarks/paper_mini.py FOLDER          # about ten minutes on two cores, 1.5 GB, no download

The towers have their true size and random weights, the sets are two of the embedded benchmark at 224 × 224, four images
each, and every attack and training is cut to a step or two. What is tried is the machinery, so accuracies mean nothing:
local weights by digest, QuickGELU, CLIP's tokenizer, ModifiedResNet and VisionTransformer under every method of the
config, both protocols, AutoAttack included, and the report. Prints seconds by rule, and exits with Snakemake's code.
"""

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TOWERS = {"vit": "ViT-B-32-quickgelu", "rn": "RN50-quickgelu"}
IMAGES = 4
TRAINING = 8  # images of the one step
FEW = {"steps": 2, "queries": 10}  # of every attack; AutoAttack's own 100 and 5000 take minutes an image


def random_weights(architecture: str, path: Path) -> str:
    """A checkpoint of an architecture as open_clip initialises it; returns its sha256."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from zsr.hashing import file_digest

    if not path.exists():
        torch.manual_seed(0)
        clip = open_clip.create_model(architecture, pretrained=None)
        save_file({name: value.contiguous() for name, value in clip.state_dict().items()}, path)
    return file_digest(path)


def miniature(folder: Path) -> dict:
    """config/paper.yaml with its methods, settings and protocols, and everything that costs time made small."""
    from zsr import registry

    config = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    config |= {"device": "cpu", "threads": 1, "results": str(folder / "results")}
    config["data"] = [{"name": "source", "like": "drawn-source", "splits": {"train": TRAINING, "test": IMAGES}}]
    config["backbones"] = []
    for name, architecture in TOWERS.items():
        weights = folder / f"{name}.safetensors"
        digest = random_weights(architecture, weights)
        config["backbones"].append({"name": name, "open_clip": architecture, "weights": str(weights), "sha256": digest})
    short = {"batch": TRAINING, "epochs": 1, "warmup": 0, "attack_steps": 1}
    config["finetune"] |= {"dataset": "source", "transform": "224", **short}
    for model in config["models"]:
        if "recipe" in model:
            model["recipe"] |= {key: short[key] for key in short.keys() & model["recipe"].keys()}
        model["backbones"] = ["vit"] if model["method"] == "tga-zsr" else list(TOWERS)
    for protocol, dataset in zip(config["protocols"], ("drawn-digits", "handwritten-digits"), strict=True):
        protocol |= {"datasets": [dataset], "transform": "224", "eps": ["1/255"], "images": IMAGES, "batch": IMAGES}
        for attack in protocol["attacks"]:
            known = registry.describe("attacks", attack["attack"]).settings
            attack |= {key: few for key, few in FEW.items() if key in known}
    return config


def seconds_by_rule(results: Path) -> dict[str, tuple[int, float]]:
    """rule -> (jobs, seconds), as Snakemake measured them."""
    found: dict[str, list[float]] = defaultdict(list)
    for path in (results / "benchmarks").rglob("*.tsv"):
        head, row = path.read_text(encoding="utf-8").splitlines()[:2]
        rule = path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        found[rule].append(float(dict(zip(head.split("\t"), row.split("\t"), strict=True))["s"]))
    return {rule: (len(values), sum(values)) for rule, values in sorted(found.items())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(miniature(folder), sort_keys=False), encoding="utf-8")
    start = time.monotonic()
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--configfile", str(path)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    for rule, (jobs, seconds) in seconds_by_rule(folder / "results").items():
        print(f"{rule:12} {jobs:4} jobs {seconds:8.1f} s")
    print(f"whole run    {time.monotonic() - start:13.1f} s, exit {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())

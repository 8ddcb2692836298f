"""What a config costs: hours of one GPU and bytes on disk, from its plan and published rates; no GPU is needed.

    python benchmarks/hours.py config/paper.yaml

Rates (each from another's measurement, none from a run of zsr):
- evaluation: 21 s for PGD-100 on a batch of 256 with CLIP ViT-B/32 at 224 × 224 on one RTX 3090 (TGA-ZSR, section 4.1),
  1,219 forward and backward passes a second;
- fine-tuning: 512 s an epoch of TinyImageNet for TeCoA there (TGA-ZSR, table of costs): 3 units of forward and backward
  (PGD-2 and the update), 1.71 ms a unit and image. The other methods by their passes (docs/methods.md). The same paper
  measured 828 s for PMG-AFT, where this rule says 739 s.
Other towers scale by their operations (open_clip, docs/model_profile.csv). AutoAttack's cost depends on what stands: a
third of the images is taken to stand, and these pay the whole of it. `verdict: any` lets fallen images leave: not
counted, so that hours are an upper bound there.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from zsr.config.text import read
from zsr.data.transforms import pixels
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan

PASSES = 100 * 256 / 21  # forward and backward a second, ViT-B/32 at 224
UNIT = 512 / 100_000 / 3  # seconds of one forward and backward of one image in training
GFLOPS = {"ViT-B-32": 8.82, "ViT-B-16": 35.13, "ViT-L-14": 162.03, "RN50": 12.22, "convnext_base_w": 40.11}
STAND = 1 / 3
ATTACK = {
    "autoattack-papers": lambda s: 100 + STAND * 100,
    "autoattack": lambda s: 100 + STAND * (900 + 900 + 5000 / 3),
}  # passes an image; a forward alone is a third
# student and frozen passes of a step beside the attack: forward and backward is 1, forward alone 1/3
UNITS = {
    "tecoa": 1, "ce": 1, "adv": 1, "coadv": 1, "imgcoadv": 2 + 1 / 3, "fare": 1 + 1 / 3, "pmg-aft": 2 + 1 / 3,
    "tga-zsr": 2 + 1 / 3, "caw": 1 + 2 / 3, "agft": 1 + 1 / 3, "ucat": 1 + 1 / 3, "tima": 1 + 1 / 3, "laat": 2,
    "tecoa-pseudo": 1 + 1 / 3, "tecoa-partial": 1, "vp-token": 1, "vp-pixel": 1, "trades": 2, "ft-adv": 1,
    "ft-clean": 1,
    "linear-probe": 1 / 30,  # one forward of each image in ten epochs
    "apd": 3, "apt": 1, "advvp": 1, "advtp": 1, "advmaple": 1, "advvlp": 1, "fap": 2,
}  # fmt: skip
TOWER_MEGABYTES = 352  # ViT-B/32's image tower, float32


def scale(plan: Plan, backbone: str) -> float:
    """Operations of an image tower, in ViT-B/32's."""
    name = plan.config.backbones[backbone].origin.partition(":")[0].removesuffix("-quickgelu")
    return GFLOPS[name] / GFLOPS["ViT-B-32"]


def training(plan: Plan, job: PlannedJob) -> float:
    """Seconds of one fine-tuning."""
    recipe = job.spec["recipe"]
    data = job.needs["data"]
    definition = plan.config.datasets[data.wildcards["dataset"]]
    count = definition.splits[data.wildcards["split"]]
    if recipe["shots"]:
        count = recipe["shots"] * len(definition.classes)
    count = recipe["images"] or count
    units = UNITS[job.spec["method"]] + recipe.get("attack_steps", 0)  # none where clean images alone are trained on
    return recipe["epochs"] * count * units * UNIT * scale(plan, job.wildcards["model"].partition(".")[0])


def evaluation(plan: Plan, job: PlannedJob) -> float:
    """Seconds of one cell."""
    spec = job.spec
    passes = ATTACK.get(spec["attack"], lambda s: s["steps"] * s.get("restarts", 1))(spec["settings"])
    return spec["images"] * passes / PASSES * scale(plan, job.wildcards["model"].partition(".")[0])


def disk(plan: Plan) -> dict[str, float]:
    """Gigabytes of prepared images, of weights, of cells."""
    images = weights = 0.0
    for job in plan.jobs.values():
        if job.rule == "prepare" and not job.spec.get("encoded"):
            definition = plan.config.datasets[job.wildcards["dataset"]]
            images += (
                pixels(job.wildcards["transform"], definition.size) * definition.splits[job.wildcards["split"]] / 1e9
            )
        if job.rule in ("finetune", "fetch", "publish"):
            weights += TOWER_MEGABYTES / 1e3 * scale(plan, next(iter(job.wildcards.values())).partition(".")[0])
    return {"images": images, "weights": weights}


def estimate(plan: Plan) -> dict[str, float]:
    """Hours of fine-tuning and of evaluation, gigabytes."""
    hours: dict[str, float] = defaultdict(float)
    for job in plan.jobs.values():
        if job.rule == "finetune":
            hours["training"] += training(plan, job) / 3600
        if job.rule == "evaluate":
            hours["evaluation"] += evaluation(plan, job) / 3600
    return {**hours, **disk(plan)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+", type=Path)
    for path in parser.parse_args().configs:
        plan = Plan(read(path))
        said = estimate(plan)
        print(f"{path}: {len(plan.jobs)} jobs, {said['training']:.0f} h fine-tuning, {said['evaluation']:.0f} h "
              f"evaluation, {said['images']:.0f} GB of images, {said['weights']:.0f} GB of weights")  # fmt: skip


if __name__ == "__main__":
    main()

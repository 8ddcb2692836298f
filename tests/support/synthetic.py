"""Results that nobody measured: cells and rows of any size for tests of tables, figures and page.

Each image has a hardness shared by all models, each model a clean skill and a radius that it resists; larger ε and
stronger attacks fell more, by construction, so that a clean run raises no alarm.
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pandas as pd

METHODS = ["clip", "tecoa", "pmg-aft", "tga-zsr", "fare", "caw", "tima", "apd", "agft", "ucat"]
SETS = ["source", "held-out pairs", "shape", "count", "texture", "position", "drawn digits", "real digits", "letters",
        "hollow shapes", "contrast", "stripes", "corners", "night", "sketch", "negative"]  # fmt: skip
HOSTILE = "<script>alert(1)</script>"
RUDE = 'a&b_c%"$\\'
ATTACKS = {"pgd-10": ("pgd", 10, 1.0), "cw-10": ("cw", 10, 1.02), "autoattack": ("autoattack", 0, 1.05)}


@dataclass
class Results:
    """Summaries, and a loader for their rows."""

    cells: list[dict] = field(default_factory=list)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    models: list[dict] = field(default_factory=list)

    def rows(self, cell: dict) -> pd.DataFrame:
        return self.frames[cell["spec_hash"]]


def make(
    models: Sequence[str] = METHODS[:3],
    sets: Sequence[str] = SETS[:4],
    eps: Sequence[str] = ("1/255", "2/255"),
    attacks: Sequence[str] = ("pgd-10",),
    images: int = 200,
    seeds: Sequence[int] = (0,),
    backbones: Sequence[str] = ("resnet-tiny",),
    protocol: str = "zsr",
) -> Results:
    """M models × D sets × E ε × A attacks, the same for the same arguments."""
    results = Results()
    for backbone, (place, name), seed in itertools.product(backbones, enumerate(models), seeds):
        model = {"id": f"{backbone}-{name}-{seed}", "name": name, "method": name, "backbone": backbone,
                 "train_eps": None if place == 0 else "2/255", "seed": seed}  # fmt: skip
        results.models.append(
            {"id": model["id"], "seconds": 0.0 if place == 0 else 30.0 + 17 * place, "peak_memory": 10**8 * (place + 1),
             "images_per_second": 900.0}
            | ({} if place == 0 else {"seconds_per_step": 0.1 * place, "forward_per_image": 2.0 + place,
                                      "backward_per_image": 3.0, "original_per_image": 0.0})
        )  # fmt: skip
        for number, dataset in enumerate(sets):
            for attack, level in itertools.product(attacks, eps):
                _cell(results, model, place, dataset, number, attack, level, images, protocol)
    return results


def _cell(results: Results, model: dict, place: int, dataset: str, number: int, attack: str, eps: str, images: int,
          protocol: str) -> None:  # fmt: skip
    name, steps, strength = ATTACKS[attack]
    classes = 4 + number
    world = np.random.default_rng([number, 7])
    hardness, label = world.random(images), world.integers(0, classes, images)
    noise = np.random.default_rng([number, place, model["seed"], len(model["backbone"])])
    own = np.clip(hardness + noise.normal(0, 0.08, images), 0, 1)
    right = own < 0.92 - 0.05 * (number % 4) - (0.0 if place == 0 else 0.06 + 0.012 * place)
    spread = world.lognormal(0.0, 0.8, images) * noise.lognormal(0.0, 0.1, images)
    radius = (1.3 - own) * spread * (0.3 if place == 0 else 2.4 + 0.35 * place) / 255
    size = float(Fraction(eps))
    robust = right & (radius > size * strength)
    fell = np.clip((radius / size * strength * 8).astype(int) + 1, 1, max(steps, 1))
    step = np.where(robust, -1, np.where(right, fell, 0))
    frame = pd.DataFrame(
        {
            "index": np.arange(images, dtype=np.int32),
            "label": label.astype(np.int32),
            "clean": np.where(right, label, (label + 1) % classes).astype(np.int32),
            "adversarial": np.where(robust, label, (label + 1) % classes).astype(np.int32),
            "clean_margin": np.where(right, 1.0, -1.0).astype(np.float32),
            "margin": np.where(robust, 0.5, -0.5).astype(np.float32),
            "step": step.astype(np.int32),
            "distance": np.float32(size),
            "robust": robust,
            "fooled_by": pd.Categorical(np.where(robust, "", name)),
        }
    )
    spec = {"model": model["id"], "dataset": dataset, "attack": {"name": name, "steps": steps}, "eps": eps,
            "verdict": "any"}  # fmt: skip
    path = f"results/eval/{protocol}/{model['id']}/{dataset}/{attack}/eps-{eps.replace('/', '-')}.parquet"
    key = hashlib.sha256(path.encode()).hexdigest()[:16]
    results.frames[key] = frame
    results.cells.append(
        {
            "spec": spec, "spec_hash": key, "digest": hashlib.sha256(key.encode()).hexdigest(), "path": path,
            "model": model,
            "dataset": {"name": dataset, "classes": classes, "images": images, "is_source": number == 0,
                        "shares_words": number in (0, 1), "chance": 1 / classes},
            "worst_case": True, "follows": "", "unconfirmed": 0,
            "signs": {name: {"images": images, "zero_gradient": 0, "ended": 50, "first": 1.0, "last": 2.0, "rose": 50}},
            "protocol": protocol, "attack": {"name": name, "label": attack, "steps": steps or 100}, "eps": eps,
            "threat": "linf", "n": images, "clean_correct": int(right.sum()), "robust_correct": int(robust.sum()),
            "passes": {"forward": images * max(steps, 40), "backward": images * max(steps, 30)},
            "seconds": 2.5, "start_seconds": 1.0, "images_per_second": images / 2.5, "notes": [],
            "versions": {"torch": "2.11.0", "zsr": "0.1.0"}, "machine": {"cpu": "laptop", "threads": 1},
            "code_files": {f"zsr/module_{i}.py": hashlib.sha256(bytes([i])).hexdigest() for i in range(12)},
        }
    )  # fmt: skip


def logs(results: Results, steps: int = 60) -> dict[str, list[dict]]:
    """Training logs, one record per step, for every model that trains."""
    found = {}
    for place, model in enumerate(results.models):
        if model["seconds"] > 0:
            noise = np.random.default_rng(place).normal(0, 0.05, steps)
            found[model["id"]] = [
                {"step": s, "loss": 2.2 * 0.97**s + 0.5 + float(noise[s]), "accuracy": 0.6 - 0.4 * 0.96**s, "lr": 1e-3}
                for s in range(steps)
            ]
    return found


def paper(images: int = 500) -> Results:
    """10 methods × 16 sets × 3 ε × 3 attacks."""
    return make(METHODS, SETS, ("1/255", "2/255", "4/255"), tuple(ATTACKS), images)


def gallery(
    results: Results | None = None, count: int = 40, side: int = 24, fates: Sequence[str] = ("fell", "stood", "wrong")
) -> tuple[list[dict], dict, dict[str, str]]:
    """Entries and pictures of a gallery over a result set, and the name of each model."""
    results = results or make()
    rng = np.random.default_rng(5)
    pictures: dict[str, np.ndarray] = {}

    def picture(shape: tuple[int, ...]) -> int:
        pictures[str(len(pictures))] = rng.integers(0, 256, shape, dtype=np.uint8)
        return len(pictures) - 1

    originals: dict[tuple, int] = {}
    entries = []
    drawn = np.sort(rng.permutation(len(results.cells))[:count])
    for number, cell in enumerate(results.cells[place] for place in drawn):
        dataset, model = cell["dataset"]["name"], cell["model"]
        fate = fates[number % len(fates)]
        names = [f"class {i} of {dataset}" for i in range(4)]
        looked = number % 2 == 0
        if dataset not in originals:
            originals[dataset] = picture((3, side, side))
        entries.append(
            {"protocol": cell["protocol"], "backbone": model["backbone"], "id": model["id"], "dataset": dataset,
             "attack": cell["attack"]["label"], "eps": cell["eps"], "index": 7, "label": names[0], "fate": fate,
             "words": fate, "before": [(name, 0.4 - 0.1 * i) for i, name in enumerate(names)],
             "after": [(name, 0.1 + 0.1 * i) for i, name in enumerate(names)] if fate == "fell" else None,
             "image": originals[dataset],
             "adversarial": picture((3, side, side)) if fate == "fell" else None,
             "perturbation": picture((3, side, side)) if fate == "fell" else None,
             "times": 31.9 if fate == "fell" else None,
             "attention": [picture((4, 4)) for _ in range(1 + (fate == "fell"))] if looked else []}
        )  # fmt: skip
    return entries, pictures, {cell["model"]["id"]: cell["model"]["name"] for cell in results.cells}

"""Whether a backbone is what it says: its clean zero-shot accuracy against numbers that others recorded for it.

A wrong activation, a wrong normalisation or a wrong list of class names costs points and raises no error. Recorded are
the clean accuracies of CLIP in the papers (resources/published.csv, one prompt) and those of open_clip's own evaluation
(resources/zeroshot.csv, from its docs/openclip_results.csv; the ensembles of OpenAI's prompts; without the sets where
it counts recall per class or takes another split).
"""

from collections.abc import Iterable
from functools import cache

import pandas as pd

from zsr.registry import ROOT
from zsr.report import published_numbers
from zsr.report.tables.alarms import Alarm
from zsr.report.tables.statistics import wilson

FILE = ROOT / "resources" / "zeroshot.csv"
POINTS = 2.0  # further off than this, beyond chance, and somebody should look
IMAGES = 500  # fewer say too little
ENSEMBLE = 7  # prompts of a class, from which on a head is an ensemble of them


@cache
def ensembles() -> dict[tuple[str, str], float]:
    """(backbone, dataset) -> per cent."""
    table = pd.read_csv(FILE, index_col="backbone").stack()
    return {key: float(value) for key, value in table.items()}


@cache
def single_prompts() -> dict[tuple[str, str], tuple[float, ...]]:
    """(backbone, dataset) -> what papers print, in per cent."""
    table = published_numbers.read()
    table = table[(table.zsr == "clip") & (table.setting == "") & (table.part == "all") & table.clean.notna()]
    table = table[(table.trained_on == "none") & (table.mark == "") & table.kind.isin(["table", "authors"])]
    return {key: tuple(sorted(set(group))) for key, group in table.groupby(["backbone", "dataset"])["clean"]}


def find(cells: Iterable[dict]) -> list[Alarm]:
    """An alarm for each backbone and dataset whose clean accuracy is off; `cells` are the summaries of cells."""
    alarms, checked = [], set()
    for cell in cells:
        model, data = cell["model"], cell["dataset"]
        backbone, dataset = model.get("origin"), data["name"]
        once = (cell["protocol"], model["id"], dataset)
        if model["method"] != "clip" or cell["n"] < IMAGES or once in checked:
            continue
        checked.add(once)
        ensemble = data.get("templates", 0) >= ENSEMBLE
        known = _recorded(backbone, dataset, ensemble)
        low, high = (100 * bound for bound in wilson(cell["clean_correct"] / cell["n"], cell["n"]))
        if known and all(value < low - POINTS or value > high + POINTS for value in known):
            ours = 100 * cell["clean_correct"] / cell["n"]
            source = "open_clip" if ensemble else "the papers"
            said = " or ".join(f"{value:g}" for value in known)
            message = f"{ours:.1f} % clean of {backbone}, {source} record {said}: activation, pixels, class names?"
            alarms.append(
                Alarm("alarm", "not the known accuracy", cell["protocol"], model["backbone"], model["name"], dataset,
                      cell["attack"]["label"], cell["eps"], message)
            )  # fmt: skip
    return alarms


def _recorded(backbone: str, dataset: str, ensemble: bool) -> tuple[float, ...]:
    """What others recorded with the same kind of prompts, in per cent; empty where nobody did."""
    if not ensemble:
        return single_prompts().get((backbone, dataset), ())
    known = ensembles().get((backbone, dataset))
    return () if known is None else (known,)

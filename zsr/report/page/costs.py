"""What each training cost, as a table below the figure: means over seeds, from the manifests."""

import math

import pandas as pd

from zsr.report.escape import text

# column of the table `training` -> its title, how a number is written, what it is divided by
COLUMNS = {
    "seconds": ("s", "{:,.0f}", 1),
    "seconds_per_step": ("ms per step", "{:,.0f}", 1e-3),
    "images_per_second": ("images/s", "{:,.0f}", 1),
    "peak_memory": ("peak MiB", "{:,.0f}", 2**20),
    "forward_per_image": ("forwards", "{:.3g}", 1),
    "backward_per_image": ("backwards", "{:.3g}", 1),
    "original_per_image": ("of the original", "{:.3g}", 1),
}


def html(training: pd.DataFrame) -> str:
    """One line for each trained model; a number that no manifest has is a dash."""
    trained = training.dropna(subset=["seconds_per_step"])
    if trained.empty:
        return ""
    means = trained.groupby(["backbone", "model"], sort=False)[list(COLUMNS)].mean().reset_index()
    titles = ("backbone", "model", *(title for title, _, _ in COLUMNS.values()))
    head = "".join(f"<th scope='col'>{text(title)}</th>" for title in titles)
    rows = "".join(
        f"<tr><td>{text(line['backbone'])}</td><th scope='row'>{text(line['model'])}</th>"
        + "".join(f"<td>{_number(line[name], form, unit)}</td>" for name, (_, form, unit) in COLUMNS.items())
        + "</tr>"
        for line in means.to_dict("records")
    )
    return (
        "<div class='scroll' role='region' tabindex='0' aria-label='Cost of each training'><table class='plain'>"
        "<caption>Cost of training, mean over seeds. Passes are through the image tower, per image of a batch: the "
        f"inner attack's and the update's, and forwards of the frozen original.</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _number(value: float, form: str, unit: float) -> str:
    return "–" if math.isnan(value) else form.format(value / unit)

"""The report: one HTML file that needs no network, opens fast, prints, and carries the evidence of every number.

All figures are in the page as SVG, so it reads without JavaScript; with it, each figure becomes interactive when it
scrolls into view. The Content-Security-Policy allows exactly the scripts that this module puts in, by their hashes, and
no request. A name that slipped through the escaping could neither run nor send anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import vl_convert

from zsr.report.choices import choices
from zsr.report.escape import script_code, script_hash, script_json, text
from zsr.report.page import alarms, answer, columnar, contact_sheet, costs, evidence, gallery, grid, header, published
from zsr.report.page.contact_sheet import Sheet

HERE = Path(__file__).parent
# one script in parts; its later parts use what the earlier ones define
PARTS = ("page.js", "page_downloads.js", "page_evidence.js", "page_figures.js", "page_gallery.js",
         "page_wiring.js")  # fmt: skip
CAPTIONS = {
    "plane": ("Clean against robust accuracy", "Each point is a model: the mean over zero-shot sets with its 95 % "
              "interval. Wedges lead from the undefended model; on a dashed line the harmonic mean H is equal."),
    "epsilon": ("Accuracy against ε", "One panel per set; ε = 0 is the clean image. A curve that rises is an error "
                "(see the alarms)."),
    "heatmap": ("Every model on every set", "Accuracy in percent for the chosen attack and ε."),
    "steps": ("How fast images are fooled", "Share of images still classified rightly after each step, mean over "
              "zero-shot sets. A curve that still falls at its end means that the attack was not finished."),
    "cost": ("What robustness costs", "Robust accuracy against training time and peak memory, mean over seeds; the "
             "undefended model, which costs nothing, is not drawn."),
    "training": ("Training curves", "As logged, thinned to what can be seen; one line per seed."),
}  # fmt: skip


def build_page(
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, dict],
    pictures: Mapping[str, str],
    *,
    title: str,
    cells: Iterable[dict],
    models: Iterable[dict] = (),
    sheets: Iterable[Sheet] = (),
    examples: tuple[Sequence[dict], Mapping[str, np.ndarray]] = ((), {}),
    beside: pd.DataFrame | None = None,
) -> str:
    """The page.

    `tables` as `zsr.report.tables.build` makes them; `figures` their Vega-Lite JSON, `pictures` their SVG;
    `cells` the summaries of all cells (each with its `path`), `models` the manifests (each with `id`);
    `sheets` contact sheets; `examples` the entries of the gallery and its pictures; `beside` published numbers beside
    ours.
    """
    grids = grid.grids(tables)
    offered = choices(tables["cells"])
    start = offered.start
    answers = answer.sentences(tables["methods"], tables["paired"])
    shown_examples = gallery.pack(*examples, dict(zip(tables["cells"]["id"], tables["cells"]["model"], strict=True)))
    data = {
        "grids": grids,
        "figures": {name: columnar.pack_spec(figures[name]) for name in CAPTIONS if name in figures},
        "start": start,
        "options": offered.options,
        "answers": answers,
        "evidence": evidence.pack(cells),
        "models": evidence.pack(models),
        "gallery": shown_examples,
    }
    bundle = script_code(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # the stub lacks the default
    script = script_code("\n".join((HERE / part).read_text(encoding="utf-8") for part in PARTS))
    parts = {
        "policy": text(_policy([bundle, script])),
        "title": text(title),
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "facts": header.facts(tables),
        "bar": header.bar(offered.options, start),
        "answer": answers[answer.key(start["protocol"], start["backbone"], start["attack"], start["eps"])],
        "tables": "".join(_table(table, number, start) for number, table in enumerate(grids)),
        **{f"figure_{name}": _figure(name, pictures[name]) for name in CAPTIONS},
        "costs": costs.html(tables["training"]),
        "sheets": contact_sheet.html(sheets),
        "published": published.html(beside),
        "gallery": gallery.html(shown_examples),
        "alarms": alarms.html(tables["alarms"]),
        "data": script_json(data),
        "bundle": bundle,
        "script": script,
    }
    return _fill((HERE / "page.html").read_text(encoding="utf-8"), parts)


def _policy(scripts: Iterable[str]) -> str:
    """The Content-Security-Policy: these scripts may run, and nothing may be requested."""
    return (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        f"script-src 'unsafe-eval' {' '.join(map(script_hash, scripts))}"  # Vega compiles its expressions
    )


def _table(table: grid.Grid, number: int, start: Mapping[str, str]) -> str:
    """The table of one protocol and backbone, hidden unless the page opens with it."""
    caption = f"Accuracy in percent, protocol {table['protocol']}, backbone {table['backbone']}"
    hidden = table["protocol"] != start["protocol"] or table["backbone"] != start["backbone"]
    return grid.html(table, number, answer.key(start["attack"], start["eps"]), caption, hidden)


def _fill(template: str, parts: Mapping[str, str]) -> str:
    """Put each part in place of its {{name}}; what stands in a part is left as it is."""
    pieces = template.split("{{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        out += [parts[name], rest]
    return "".join(out)


def _figure(name: str, picture: str) -> str:
    title, caption = CAPTIONS[name]
    # several SVGs in one page must not share ids; Vega numbers its clips from 0 in each
    picture = picture.replace('id="clip', f'id="{name}-clip').replace("url(#clip", f"url(#{name}-clip")
    return (
        f"<figure><div class='scroll'><div class='chart' data-figure='{name}' role='img' "
        f"aria-label='{text(title)}. {text(caption)}'>{picture}</div></div><div class='bind'></div>"
        f"<figcaption>{text(caption)}<span class='save' data-figure='{name}'></span></figcaption></figure>"
    )

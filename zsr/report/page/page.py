"""The report: one HTML file that needs no network, opens fast, prints, and carries the evidence of every number.

Pictures of all figures are in the page as SVG, so that it reads without JavaScript; with it, each becomes interactive
when it scrolls into view. The Content-Security-Policy lets run exactly the scripts that this module put in (by hash)
and forbids every request, so a name that slipped through the escaping could still neither run nor phone home.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import vl_convert

from zsr.report.choices import choices
from zsr.report.escape import data_uri, script_code, script_hash, script_json, text
from zsr.report.page import answer, columnar, costs, evidence, gallery, grid, published

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


def render(
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, dict],
    pictures: Mapping[str, str],
    *,
    title: str,
    cells: Iterable[dict],
    models: Iterable[dict] = (),
    sheets: Iterable[dict] = (),
    examples: tuple[Sequence[dict], Mapping[str, np.ndarray]] = ((), {}),
    beside: pd.DataFrame | None = None,
) -> str:
    """The page.

    `tables` as `zsr.report.tables.build.build` returns them; `figures` their Vega-Lite JSON, `pictures` their SVG;
    `cells` the summaries of all cells (each with its `path`), `models` the manifests (each with `id`);
    `sheets` contact sheets: {'name', 'caption', 'png': bytes}; `examples` the entries of the gallery and its pictures;
    `beside` published numbers beside ours.
    """
    grids = grid.grids(dict(tables))
    offered = choices(tables["cells"])
    options, start = offered.options, offered.start
    at = answer.key(start["attack"], start["eps"])
    data = {
        "grids": grids,
        "figures": {name: columnar.pack_spec(figures[name]) for name in CAPTIONS if name in figures},
        "start": start,
        "options": options,
        "answers": answer.sentences(tables["methods"], tables["paired"]),
        "evidence": evidence.pack(cells),
        "models": evidence.pack(models),
        "gallery": gallery.pack(*examples, dict(zip(tables["cells"]["id"], tables["cells"]["model"], strict=True))),
    }
    scripts = [
        script_code(vl_convert.javascript_bundle()),
        script_code("\n".join((HERE / part).read_text(encoding="utf-8") for part in PARTS)),
    ]
    first = data["answers"][answer.key(start["protocol"], start["backbone"], start["attack"], start["eps"])]
    shown = [g["protocol"] == start["protocol"] and g["backbone"] == start["backbone"] for g in grids]
    parts = {
        "policy": text(
            "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
            f"script-src 'unsafe-eval' {' '.join(map(script_hash, scripts))}"  # Vega compiles its expressions
        ),
        "title": text(title),
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "facts": _facts(tables),
        "bar": _bar(options, start),
        "answer": first,
        "tables": "".join(grid.html(g, i, at, _caption(g), not shown[i]) for i, g in enumerate(grids)),
        **{f"figure_{name}": _figure(name, pictures[name]) for name in CAPTIONS},
        "costs": costs.html(tables["training"]),
        "sheets": _sheets(sheets),
        "published": published.html(beside),
        "gallery": _gallery(data["gallery"]),
        "alarms": _alarms(tables["alarms"]),
        "data": script_json(data),
        "bundle": scripts[0],
        "script": scripts[1],
    }
    return _fill((HERE / "page.html").read_text(encoding="utf-8"), parts)


def _fill(template: str, parts: Mapping[str, str]) -> str:
    """Put each part in the place of its {{name}}; a part is never searched for places again."""
    pieces = template.split("{{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        out += [parts[name], rest]
    return "".join(out)


def _bar(options: Mapping[str, list[str]], start: Mapping[str, str]) -> str:
    labels = {"protocol": "Protocol", "backbone": "Backbone", "attack": "Attack", "eps": "ε"}
    parts = []
    for name, label in labels.items():
        items = "".join(
            f"<option value='{text(o)}'{' selected' if o == start[name] else ''}>{text(o)}</option>"
            for o in options[name]
        )
        fixed = " class='one'" if len(options[name]) == 1 else ""
        parts.append(f"<label{fixed}>{label} <select name='{name}'>{items}</select></label>")
    return "".join(parts)


def _facts(tables: Mapping[str, pd.DataFrame]) -> str:
    cells = tables["cells"]
    real = cells[cells["attack_name"] != "union"]
    alarms = int((tables["alarms"]["severity"] == "alarm").sum())
    facts = [
        (real["model"].nunique(), "model", "models"),
        (real["dataset"].nunique(), "set", "sets"),
        (real["attack"].nunique(), "attack", "attacks"),
        (real["eps"].nunique(), "ε", "ε"),
        (len(real), "cell", "cells"),
        (int(real["n"].sum()), "verdict", "verdicts"),
    ]
    items = [f"<li><b>{count:,}</b> {one if count == 1 else many}</li>" for count, one, many in facts]
    word = "no alarm" if alarms == 0 else f"<b>{alarms:,}</b> alarm{'' if alarms == 1 else 's'}"
    items.append(f"<li class='{'good' if alarms == 0 else 'bad'}'><a href='#alarms'>{word}</a></li>")
    return "".join(items)


def _caption(g: dict) -> str:
    return f"Accuracy in percent, protocol {g['protocol']}, backbone {g['backbone']}"


def _figure(name: str, picture: str) -> str:
    title, caption = CAPTIONS[name]
    # several SVGs in one page must not share ids; Vega numbers its clips from 0 in each
    picture = picture.replace('id="clip', f'id="{name}-clip').replace("url(#clip", f"url(#{name}-clip")
    return (
        f"<figure><div class='scroll'><div class='chart' data-figure='{name}' role='img' "
        f"aria-label='{text(title)}. {text(caption)}'>{picture}</div></div><div class='bind'></div>"
        f"<figcaption>{text(caption)}<span class='save' data-figure='{name}'></span></figcaption></figure>"
    )


def _sheets(sheets: Iterable[dict]) -> str:
    items = [
        f"<figure><img src='{data_uri(sheet['png'])}' alt='Sample images of {text(sheet['name'])}' loading='lazy'>"
        f"<figcaption><b>{text(sheet['name'])}</b> {text(sheet['caption'])}</figcaption></figure>"
        for sheet in sheets
    ]
    return f"<div class='sheets'>{''.join(items)}</div>" if items else "<p>No contact sheets were made.</p>"


def _gallery(packed: Mapping) -> str:
    if not packed["entries"]:
        return (
            "<p>No adversarial examples were kept: write <code>store: examples</code> in a protocol of the config.</p>"
        )
    filters = "".join(
        f"<label>{name.capitalize()} <select name='{name}'><option value=''>all</option></select></label>"
        for name in ("set", "model", "fate")
    )
    left = f" {packed['left']} more did not fit into the page." if packed["left"] else ""
    return (
        "<p class='key'>Images drawn by seed, never by taste, in one order for all models of a set; where a model's "
        "example of an image was not kept (<code>store: 20</code>, or it fell to an earlier attack of a chain), the "
        "next image of that order is shown. The perturbation is amplified around grey. Probabilities are those of the "
        "model in fp32; attention is that of the "
        f"class token in the last layer, mean over heads, before and after.{left}</p>"
        f"<form class='filters' aria-label='Filter the gallery'>{filters}<output aria-live='polite'></output></form>"
        "<div class='cards'></div><noscript><p>The gallery needs JavaScript.</p></noscript>"
        "<p><button type='button' class='more' hidden>Show more</button></p>"
    )


def _alarms(alarms: pd.DataFrame) -> str:
    if alarms.empty:
        return "<p class='good'>None: nothing in these results contradicts itself.</p>"
    parts = []
    for (severity, kind), group in alarms.groupby(["severity", "kind"], sort=False):
        head = "".join(
            f"<th scope='col'>{name}</th>" for name in ("protocol", "backbone", "model", "set", "attack", "ε", "")
        )
        rows = "".join(
            "<tr>" + "".join(f"<td>{text(item)}</td>" for item in line) + "</tr>"
            for line in group[["protocol", "backbone", "model", "dataset", "attack", "eps", "message"]].itertuples(
                index=False, name=None
            )
        )
        parts.append(
            f"<details class='{text(severity)}'{' open' if severity == 'alarm' and len(group) <= 8 else ''}><summary>"
            f"<span class='tag'>{text(severity)}</span> {text(kind)} <small>({len(group)})</small></summary>"
            f"<div class='scroll' role='region' tabindex='0' aria-label='{text(kind)}'><table class='plain'><thead><tr>"
            f"{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
        )
    return "".join(parts)

"""A chart as Vega-Lite JSON, and the JSON as a picture: SVG for the page and for papers, PDF for papers."""

import altair as alt
import vl_convert

Chart = alt.Chart | alt.LayerChart | alt.FacetChart


def spec(chart: Chart) -> dict:
    """The Vega-Lite JSON of a chart, data inside."""
    with alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict()


def svg(spec: dict) -> str:
    """The picture of a Vega-Lite JSON at its starting choice; rendered without network."""
    quiet = spec | {"config": spec["config"] | {"aria": False}}  # a label on each of 2,000 marks helps no reader
    return vl_convert.vegalite_to_svg(quiet, allowed_base_urls=[])


def pdf(picture: str) -> bytes:
    """An SVG of `svg` as PDF, with the same look; `currentColor` is black there."""
    return vl_convert.svg_to_pdf(picture.replace("currentColor", "#000"))

"""The page of synthetic results whose names try to break it."""

import base64
import html.parser
import json
import time

from support import synthetic
from zsr.report.figures import vega
from zsr.report.figures.build import build_figures
from zsr.report.page.build import build_page
from zsr.report.page.contact_sheet import Sheet
from zsr.report.page.evidence import Packed
from zsr.report.tables.build import build_tables

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TITLE = "<script>alert(1)</script> {{data}} results"


def render(results, title=TITLE):
    built = build_tables(results.cells, results.rows, results.models)
    specs = {name: vega.spec(chart) for name, chart in build_figures(built, synthetic.logs(results)).items()}
    start = time.monotonic()
    text = build_page(
        built, specs, {name: vega.svg(spec) for name, spec in specs.items()}, title=title, cells=results.cells,
        models=results.models,
        sheets=[Sheet(synthetic.HOSTILE, synthetic.RUDE, PNG)],
        examples=synthetic.gallery(results)[:2],
    )  # fmt: skip
    return text, built, time.monotonic() - start


class Reader(html.parser.HTMLParser):
    """Elements with attributes, scripts with their text, and the text of table cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.ids = [], [], []
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.tags.append((tag, known))
        if "id" in known:
            self.ids.append(known["id"])
        if tag == "script":
            self._script = (known, [])

    def handle_data(self, data):
        if self._script:
            self._script[1].append(data)

    def handle_endtag(self, tag):
        if tag == "script":
            self.scripts.append((self._script[0], "".join(self._script[1])))
            self._script = None


def payload(text):
    return json.loads(next(code for about, code in Reader(text).scripts if about.get("id") == "payload"))


def unpack(packed: Packed) -> list[object]:
    """The values again; the page's script does the same."""

    def expand(item: object) -> object:
        return build(packed["pool"][item["$"]]) if isinstance(item, dict) else item

    def build(stored: object) -> object:
        if isinstance(stored, dict):
            return {k: expand(v) for k, v in stored.items()}
        return [expand(v) for v in stored] if isinstance(stored, list) else stored

    roots = [packed["pool"][index] for index in packed["roots"]]
    return [expand(root["value"]) for root in roots if isinstance(root, dict)]

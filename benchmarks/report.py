"""Size and load time of the report for a paper-size result set: 10 methods × 16 sets × 3 ε × 3 attacks, full gallery.

    python benchmarks/report.py [--images 500] [--keep report.html]

The gallery's pictures are noise, which no PNG makes smaller: photographs take less. Load time is that of a headless
Chromium, until all scripts have run; n = 5 loads, median and range.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from support import chromium, synthetic  # noqa: E402

from zsr.evaluation.gallery import SIDE  # noqa: E402
from zsr.plan.gallery_cells import LIMIT  # noqa: E402
from zsr.report.figures import vega  # noqa: E402
from zsr.report.figures.build import build_figures  # noqa: E402
from zsr.report.page.build import build_page  # noqa: E402
from zsr.report.tables.build import build_tables  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500, help="images per cell")
    parser.add_argument("--keep", type=Path, help="write the page there")
    given = parser.parse_args()
    results = synthetic.paper(images=given.images)
    started = time.monotonic()
    built = build_tables(results.cells, results.rows, results.models)
    told(f"tables of {len(results.cells)} cells of {given.images} images", started)
    started = time.monotonic()
    specs = {name: vega.spec(chart) for name, chart in build_figures(built, synthetic.logs(results)).items()}
    pictures = {name: vega.svg(spec) for name, spec in specs.items()}
    told("figures", started)
    started = time.monotonic()
    entries, shots, _ = synthetic.gallery(results, count=LIMIT, side=SIDE, fates=["fell"])
    text = build_page(built, specs, pictures, title="Paper-size results", cells=results.cells, models=results.models,
                       examples=(entries, shots))  # fmt: skip
    told("page", started)
    print(f"size: {len(text.encode()) / 1e6:.2f} MB, gallery entries: {len(entries)}")
    if chromium.EXECUTABLE is None:
        print("load time: not measured, chromium is not installed")
        return
    with tempfile.TemporaryDirectory() as folder, chromium.Chromium() as browser:
        path = given.keep or Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        seconds = [browser.open(path) for _ in range(5)]
        assert not browser.errors, browser.errors
    print(f"load: median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f}")


def told(what: str, started: float) -> None:
    print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()

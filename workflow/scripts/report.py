"""Put tables, figures, contact sheets and evidence on one page that needs no network."""

import json

import numpy as np

from zsr import arrays, gather
from zsr.job import Job, run
from zsr.report import csvs, figures, page
from zsr.report.sheet import contact_sheet
from zsr.store import check_digest, read_record


def work(job: Job) -> None:
    plan = gather.rebuild(job.spec["config"], job.results)
    tables_record, figures_record = job.record("tables"), job.record("figures")
    folder = job.input("tables").parent
    tables = {
        name: csvs.loads(check_digest(folder / f"{name}.csv", digest).read_text())
        for name, digest in tables_record["digests"].items()
    }
    charts_path = job.input("figures").with_name("charts.json")
    charts = json.loads(check_digest(charts_path, figures_record["digests"]["charts"]).read_text())
    pictures = {name: figures.svg(spec) for name, spec in charts.items()}
    html = page.render(
        tables,
        charts,
        pictures,
        title=job.spec["title"],
        cells=gather.cells(plan),
        models=gather.models(plan),
        sheets=[sheet(plan, name) for name in plan.sheets],
    )
    job.outputs["page"].write_text(html)


def sheet(plan: gather.Plan, dataset: str) -> dict:
    """A contact sheet of one dataset, drawn by seed, never by taste."""
    source = plan.sheets[dataset]
    record = read_record(plan.results / source.record, source.hash)
    images, labels = arrays.read(plan.results / source.outputs["images"], record)
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:40])
    about = plan.config["datasets"][dataset]
    size = f"{len(about['classes']) or 'no'} classes, {len(labels)} images"
    said = [about["about"], size, about["source"], about["licence"]]
    return {
        "name": dataset,
        "caption": "".join(f"{text[:1].upper()}{text[1:].rstrip('.')}. " for text in said if text).strip(),
        "png": contact_sheet(images[chosen]),
    }


if __name__ == "__main__":
    run(work)

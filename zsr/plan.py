"""From a complete config to every job that it asks for, and what each of their specs says (zsr/graph.py).

Nothing here imports torch: every cluster job parses the Snakefile again.
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

from zsr import config as configs
from zsr import lineage, registry, shown
from zsr import protocol as protocols
from zsr.data import transforms
from zsr.datasets import source_of
from zsr.epsilon import eps_text
from zsr.graph import Asked, Graph, Job, once
from zsr.models.context import check_context
from zsr.pretraining import words_of
from zsr.provenance import canonical, short_hash

PLACES = ("results", "report", "data_root", "download", "cells_per_gpu")  # keys that no number depends on


class Plan(Graph):
    """All jobs of a config, each made once, by rule and wildcards."""

    def __init__(self, raw: dict) -> None:
        super().__init__()
        self.raw = raw
        self.config = config = configs.complete(raw)
        self.models = {entry["name"]: entry for entry in config["models"]}
        self.backbones = {entry["name"]: entry for entry in config["backbones"]}
        self.results = Path(config["results"])
        self.asked: dict[str, Asked] = {}  # record of a cell -> what asked for it
        self.files: dict[str, dict[str, str]] = {}  # record of a fetched result -> role -> its local file
        self.left_out: dict[str, list[str]] = {}  # model that is not zero-shot -> sets that it cannot classify
        self.cells = [cell for protocol in config["protocols"] for cell in self._protocol(protocol)]
        self.trained = [job for job in self.jobs.values() if job.rule in ("finetune", "pretrain")]
        self.sheets = self._sheets()
        self.tables = self._tables()
        self.figures = self._figures()
        self.shown = shown.choose(self, (cell for cell in self.cells if stores(cell)))
        self.gallery = self._gallery()
        self.report = self._report()

    # -- one method per kind of job; `once`, since a study of 15,000 cells asks 60,000 times --------------------------

    @once
    def prepare(self, dataset: str, split: str, transform: str = "native") -> Job:
        definition = self.config["datasets"][dataset]
        spec = {
            "reader": definition["reader"],
            "options": definition["options"],
            "split": split,
            "count": definition["splits"][split],
            "transform": transform,
            **source_of(definition, split, transform, self.config["decoded_gigabytes"]),
        }
        roots = [_component("data/readers", definition["reader"])]
        wildcards = {"dataset": dataset, "split": split, "transform": transform}
        return self.add("prepare", wildcards, spec, {}, "data", roots)

    @once
    def backbone(self, name: str) -> Job:
        entry = self.backbones[name]
        roots = [_kind(entry)]
        if "source" in entry:
            spec = {"kind": entry["kind"], "definition": entry["definition"], "source": entry["source"]}
            return self._from_file(self.add("fetch", {"backbone": name}, spec, {}, "evaluate", roots), entry)
        if "dual" in entry:
            return self._joined(name, entry, roots)
        pretrain = entry["pretrain"]
        needs = {"data": self.prepare(pretrain["dataset"], pretrain["split"])}
        spec = {
            "arch": entry["definition"],
            "recipe": pretrain["recipe"],
            "seed": self.config["seed"],
            **words_of(self.config, pretrain),
            **self._machine(),
        }
        if "teacher" in pretrain:
            needs["teacher"] = self.backbone(pretrain["teacher"])
            roots.append(_kind(self.backbones[pretrain["teacher"]]))
        return self.add("pretrain", {"backbone": name}, spec, needs, "train", roots)

    def _joined(self, name: str, entry: dict, roots: list[str]) -> Job:
        """A backbone of three parts; where its projection is learned, images and prompts (or captions) come too."""
        spec, needs = {"definition": entry["definition"], "parts": entry["parts"]}, {}
        if learn := entry["dual"].get("learn"):
            about = self.config["datasets"][learn["dataset"]]
            transform = transforms.choose(learn["transform"], about, f"backbones '{name}'")
            needs["data"] = self.prepare(learn["dataset"], learn["split"], transform)
            spec |= {"classes": about["classes"], "templates": about["templates"], "recipe": learn["recipe"]}
            spec |= {"seed": self.config["seed"], **self._machine()}
        job = self.add("join", {"backbone": name}, spec, needs, "train", roots)
        self.files[job.record] = entry["files"]
        return job

    def origin(self, name: str) -> str:
        """What a backbone is, by the name that papers and open_clip know: `ViT-B-32-quickgelu:openai`."""
        entry = self.backbones[name]
        if "dual" in entry:
            return entry["dual"]["image"]["timm"]
        source = entry.get("source", {})
        return source.get("tag") or source.get("hub") or entry.get("arch") or entry["open_clip"]

    @once
    def head(self, backbone: str, dataset: str) -> Job:
        definition = self.config["datasets"][dataset]
        spec = {"classes": definition["classes"], "templates": definition["templates"], **self._machine()}
        needs = {"backbone": self.backbone(backbone)}
        roots = [_kind(self.backbones[backbone])]
        return self.add("heads", {"tower": backbone, "dataset": dataset}, spec, needs, "evaluate", roots)

    @once
    def base(self, name: str, backbone: str, seed: int) -> Job:
        """The towers that a model is made on: its backbone's, or those of the model that it starts from."""
        entry = self.models[name]
        if "start" not in entry:
            return self.backbone(backbone)
        start = self.models[entry["start"]]
        at = lineage.seed_of(start, seed)
        model = self.model(start["name"], backbone, at)
        needs = {"backbone": self.base(start["name"], backbone, at), "model": model}
        return self.add("promote", {"tower": model.wildcards["model"]}, {}, needs, "train")

    @once
    def texts(self, name: str, backbone: str, seed: int, dataset: str) -> Job:
        """The class embeddings that a model is evaluated with: its backbone's, or its own where it trained text."""
        entry = self.models[name]
        if not entry["trains_text"]:
            return self.head(backbone, dataset)
        self._fits(entry, backbone, dataset)
        definition = self.config["datasets"][dataset]
        model = self.model(name, backbone, seed)
        spec = {"classes": definition["classes"], "templates": definition["templates"], "method": entry["method"]}
        needs = {"model": model, "backbone": self.base(name, backbone, seed)}
        wildcards = {"model": model.wildcards["model"], "dataset": dataset}
        roots = [_component("methods", entry["method"]), _kind(self.backbones[backbone])]
        return self.add("texts", wildcards, spec | self._machine(), needs, "evaluate", roots)

    @once
    def model(self, name: str, backbone: str, seed: int) -> Job:
        entry = self.models[name]
        if "interpolate" in entry:
            return self._interpolation(entry, backbone, seed)
        needs = {"backbone": self.base(name, backbone, seed)}
        spec = {"method": entry["method"], "settings": entry["settings"]}
        roots = [_component("methods", entry["method"])]
        name = f"{backbone}.{name}"  # names have no dots: a model that trained ends in .s<seed>, and no other does
        if "published" in entry:
            spec |= {"settings": {}, "source": entry["published"]["source"]}
            made = self.add("publish", {"model": name}, spec, needs, "evaluate", roots)
            return self._from_file(made, entry["settings"])
        if not entry["trains"]:
            return self.add("adopt", {"model": name}, spec, needs, "train", roots)
        source = entry["source"]
        if entry["trains_text"]:
            self._fits(entry, backbone, source["dataset"])
        needs["data"] = self.prepare(source["dataset"], source["split"], source["transform"])
        if self.config["datasets"][source["dataset"]]["classes"]:
            needs["head"] = self.head(backbone, source["dataset"])
        if "teacher" in entry:
            needs["teacher"] = self._parent(entry["teacher"], backbone, seed)
            roots.append(_component("methods", self.models[entry["teacher"]]["loads"]))
        spec["labelled"] = self.config["datasets"][source["dataset"]]["labelled"]
        spec |= self._machine() | {"recipe": source["recipe"], "eps": eps_text(entry["eps"]), "seed": seed}
        spec["kernels"] = self.config["kernels"]
        name += f".s{seed}"
        roots.append(_kind(self.backbones[backbone]))
        return self.add("finetune", {"model": name}, spec, needs, "train", roots)

    def _interpolation(self, entry: dict, backbone: str, seed: int) -> Job:
        mix = entry["interpolate"]
        needs = {"backbone": self.backbone(backbone)}
        needs |= {"start": self._parent(mix["from"], backbone, seed), "end": self._parent(mix["to"], backbone, seed)}
        spec = {"method": entry["loads"], "settings": entry["settings"], "alpha": float(mix["alpha"])}
        percent = lineage.percent(mix["alpha"], entry["name"])
        name = f"{backbone}.{entry['base']}.a{percent}" + (f".s{seed}" if entry["trains"] else "")
        return self.add("interpolate", {"model": name}, spec, needs, "train")

    def _parent(self, name: str, backbone: str, seed: int) -> Job:
        """The model that another one with this seed comes from."""
        return self.model(name, backbone, lineage.seed_of(self.models[name], seed))

    def cell(
        self, protocol: dict, entry: dict, backbone: str, seed: int, dataset: str, attack: dict, eps: Fraction
    ) -> Job:
        model = self.model(entry["name"], backbone, seed)
        needs = {
            "model": model,
            "backbone": self.base(entry["name"], backbone, seed),
            "head": self.texts(entry["name"], backbone, seed, dataset),
            "data": self.prepare(dataset, protocol["split"], protocol["transforms"][dataset]),
        }
        text = eps_text(eps)
        spec = {key: protocol[key] for key in ("norm", "batch", "precision", "store")}
        spec |= {"images": protocols.images(self.config, protocol, dataset), "verdict": attack["verdict"]}
        spec |= {"attack": attack["attack"], "settings": attack["settings"], "eps": text, "method": entry["loads"]}
        spec |= {"seed": self.config["seed"], "kernels": self.config["kernels"], **self._machine()}
        roots = [_component("attacks", attack["attack"]), _component("methods", entry["loads"])]
        if attack["source"]:  # the examples are made on another model
            source = self.models[attack["source"]]
            at = lineage.seed_of(source, seed)
            needs["source"] = self.model(source["name"], backbone, at)
            needs["source_head"] = self.texts(source["name"], backbone, at, dataset)
            if (base := self.base(source["name"], backbone, at)) is not needs["backbone"]:
                needs["source_backbone"] = base
            roots.append(_component("methods", source["loads"]))
        chain = {}
        for role, (other, at) in protocols.follows(protocol, attack, eps).items():
            needs[role] = self.cell(protocol, entry, backbone, seed, dataset, other, at)
            chain[role] = f"{other['name']} {eps_text(at)}"
        if chain:
            spec["follows"] = chain
        wildcards = {
            "protocol": protocol["name"],
            "model": model.wildcards["model"],
            "dataset": dataset,
            "attack": attack["name"],
            "eps": text.replace("/", "_"),
        }
        roots.append(_kind(self.backbones[backbone]))
        job = self._evaluated(protocols.shards(self.config, protocol, dataset), wildcards, spec, needs, roots)
        self.asked[job.record] = Asked(entry, backbone, seed, dataset)
        return job

    def _evaluated(self, shards: int, wildcards: dict, spec: dict, needs: dict[str, Job], roots: list[str]) -> Job:
        """The job that makes a cell: one evaluation, or several of a part of the images each and their merge."""
        if shards == 1:
            return self.add("evaluate", wildcards, spec, needs, "evaluate", roots)
        parts = {}
        for i in range(shards):
            place = {**wildcards, "shard": f"{i}-of-{shards}"}
            part = {**spec, "shard": [i, shards], "store": "none" if spec["store"] == "none" else "examples"}
            parts[f"shard-{i}"] = self.add("shard", place, part, needs, "evaluate", roots)
        return self.add("merge", wildcards, {**spec, "shards": shards}, {**needs, **parts}, "evaluate")

    # -- what reads everything ---------------------------------------------------------------------------------------

    def _protocol(self, protocol: dict) -> Iterable[Job]:
        for entry in self.config["models"]:
            for backbone in entry["backbones"]:
                for seed in entry["seeds"] if entry["trains"] else entry["seeds"][:1]:
                    for dataset in protocol["datasets"]:
                        if not configs.can_classify(self.config, entry, dataset):
                            self._leave_out(entry["name"], dataset)
                            continue
                        for attack in protocol["attacks"]:
                            for eps in protocol["eps"]:
                                yield self.cell(protocol, entry, backbone, seed, dataset, attack, eps)

    def _leave_out(self, name: str, dataset: str) -> None:
        sets = self.left_out.setdefault(name, [])
        sets += [dataset] if dataset not in sets else []

    def _sheets(self) -> dict[str, Job]:
        """dataset -> the preparation that the report shows a contact sheet of: the split that is used first."""
        found: dict[str, Job] = {}
        for (rule, _), job in self.jobs.items():
            if rule == "prepare":
                found.setdefault(job.wildcards["dataset"], job)
        return found

    def _tables(self) -> Job:
        # the list of cells may be long: its digest is in the spec, and the job makes the list again from the config
        spec = {"config": self._asked(), "cells": self.digest(self.cells), "sets": self._about()}
        return self.add("tables", {}, spec, {}, "report", ["zsr/report/tables.py"])

    def _figures(self) -> Job:
        spec = {"config": self._asked(), "trained": self.digest(self.trained)}
        return self.add("figures", {}, spec, {"tables": self.tables}, "report", ["zsr/report/figures.py"])

    def _gallery(self) -> Job:
        spec = {"config": self._asked() if self.shown else None, "cells": self.digest(self.shown)}
        roots = {_component("methods", cell.spec["method"]) for cell in self.shown}
        return self.add("gallery", {}, spec, {}, "evaluate", roots)

    def _report(self) -> Job:
        sheets = self.digest(self.sheets.values())
        spec = {"config": self._asked(), "title": self.config["report"]["title"], "sheets": sheets}
        needs = {"tables": self.tables, "figures": self.figures, "gallery": self.gallery}
        return self.add("report", {}, spec, needs, "report", ["zsr/report/page.py"])

    def _from_file(self, job: Job, entry: dict) -> Job:
        """Remember the path that the spec leaves out: it holds what the file contains."""
        if entry.get("weights"):
            self.files[job.record] = {"weights": entry["weights"]}
        return job

    def _asked(self) -> dict:
        """The config as it was written, as far as tables depend on it: a job makes the same plan from it again."""
        return {key: value for key, value in self.raw.items() if key not in PLACES}

    def _about(self) -> str:
        """What tables and report say of datasets, protocols and published models beside the numbers."""
        said = {name: self.config["datasets"][name] for name in sorted(self.config["datasets"])}
        protocols = [[protocol[key] for key in ("worst_case", "chain_eps")] for protocol in self.config["protocols"]]
        published = [str(entry.get("published")) for entry in self.config["models"]]
        return short_hash(canonical({"datasets": said, "protocols": protocols, "published": published}))

    def _fits(self, entry: dict, backbone: str, dataset: str) -> None:
        """Refuse a model whose learned prompts are too long for a class name, before any job runs."""
        arch = self.backbones[backbone]["definition"]
        names = self.config["datasets"][dataset]
        where = f"models '{entry['name']}' on '{dataset}'"
        check_context(arch, entry["settings"], names["classes"], names["templates"], where)

    def _machine(self) -> dict:
        return {"device": self.config["device"], "threads": self.config["threads"]}


def stores(cell: Job) -> bool:
    """Whether a cell keeps its adversarial examples."""
    return cell.spec["store"] != "none"


@cache
def _component(kind: str, name: str) -> str:
    return str(registry.component_path(kind, name).relative_to(registry.ROOT))


def _kind(backbone: dict) -> str:
    """The file that builds a backbone's model: loaded by name, so a job's code must name it."""
    return f"zsr/models/kinds/{registry.filename(backbone['kind'])}.py"

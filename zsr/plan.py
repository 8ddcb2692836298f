"""From a complete config to every job: what it makes, from what, and the one spec that decides whether it is remade.

A spec is canonical JSON. It holds all that can change the result (settings, seeds, precision, threads, the pins of
the environment, the code's fingerprint, the hash of each upstream spec) and nothing that cannot. It is the only
Snakemake param of its rule. Nothing here imports torch: every cluster job parses the Snakefile again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, wraps
from pathlib import Path

from zsr import config as configs
from zsr import layout, registry
from zsr.epsilon import eps_text
from zsr.errors import ZsrError
from zsr.provenance import canonical, environment, fingerprint, short_hash

TRANSFORM = "native"  # the only transform so far: the image as its reader gives it
SCRIPTS = "workflow/scripts"


@dataclass(frozen=True, eq=False)
class Job:
    """One node of the DAG; the plan makes each once, so it is equal to itself alone."""

    rule: str
    wildcards: dict[str, str]
    spec: dict
    needs: dict[str, "Job"] = field(repr=False)  # role -> the job whose result is read

    @cached_property
    def text(self) -> str:
        """The rule's only param."""
        return canonical(self.spec)

    @cached_property
    def hash(self) -> str:
        """Names the spec in everything downstream."""
        return short_hash(self.text)

    @cached_property
    def outputs(self) -> dict[str, str]:
        """output -> path below the results folder."""
        return {name: pattern.format(**self.wildcards) for name, pattern in layout.OUTPUTS[self.rule].items()}

    @property
    def record(self) -> str:
        """The JSON file that carries the spec; it stands for the whole result."""
        return self.outputs["record"]

    @property
    def title(self) -> str:
        """How people read it: `evaluate rn.tecoa.s0 digits pgd 2_255`."""
        return " ".join([self.rule, *self.wildcards.values()])


@dataclass(frozen=True)
class Asked:
    """Which entries of the config a cell belongs to: names that its spec leaves out, since they change no number."""

    entry: dict
    backbone: str
    seed: int
    dataset: str

    @property
    def train_eps(self) -> str | None:
        """ε of the fine-tuning, None where there was none."""
        return eps_text(self.entry["eps"]) if self.entry["trains"] else None


def once(method: Callable) -> Callable:
    """Remember a method's results in the plan itself."""

    @wraps(method)
    def remembered(plan: "Plan", *key: object) -> Job:
        if (method.__name__, key) not in plan.made:
            plan.made[method.__name__, key] = method(plan, *key)
        return plan.made[method.__name__, key]

    return remembered


class Plan:
    """All jobs of a config, each made once, by rule and wildcards."""

    def __init__(self, raw: dict) -> None:
        self.raw = raw
        self.config = config = configs.complete(raw)
        self.results = Path(config["results"])
        self.jobs: dict[tuple, Job] = {}
        self.made: dict[tuple, Job] = {}
        self._paths: dict[str, Job] = {}
        self.asked: dict[str, Asked] = {}  # record of a cell -> what asked for it
        self.cells = [cell for protocol in config["protocols"] for cell in self._protocol(protocol)]
        self.trained = [job for job in self.jobs.values() if job.rule in ("finetune", "pretrain")]
        self.sheets = self._sheets()
        self.tables = self._tables()
        self.figures = self._figures()
        self.report = self._report()

    def spec(self, rule: str, wildcards: Iterable[tuple[str, str]] | dict) -> str:
        """The canonical spec of a job, for the rule's param."""
        return self.job(rule, wildcards).text

    def job(self, rule: str, wildcards: Iterable[tuple[str, str]] | dict) -> Job:
        """The job of a rule and its wildcards."""
        key = (rule, tuple(sorted(dict(wildcards).items())))
        if key not in self.jobs:
            raise ZsrError(f"{rule} {dict(wildcards)}: not in this config's plan")
        return self.jobs[key]

    def owner(self, path: str) -> Job | None:
        """The job that makes a file (path below the results folder)."""
        return self._paths.get(path)

    # -- one method per kind of job; `once`, since a study of 15,000 cells asks 60,000 times --------------------------

    @once
    def prepare(self, dataset: str, split: str) -> Job:
        definition = self.config["datasets"][dataset]
        spec = {
            "reader": definition["reader"],
            "options": definition["options"],
            "split": split,
            "count": definition["splits"][split],
            "transform": TRANSFORM,
        }
        roots = [_component("data/readers", definition["reader"])]
        return self._add(
            "prepare", {"dataset": dataset, "split": split, "transform": TRANSFORM}, spec, {}, "data", roots
        )

    @once
    def backbone(self, name: str) -> Job:
        entry = next(b for b in self.config["backbones"] if b["name"] == name)
        pretrain = entry["pretrain"]
        needs = {"data": self.prepare(pretrain["dataset"], pretrain["split"])}
        spec = {
            "arch": entry["definition"],
            "recipe": pretrain["recipe"],
            "seed": self.config["seed"],
            **self._machine(),
        }
        return self._add("pretrain", {"backbone": name}, spec, needs, "train")

    @once
    def head(self, backbone: str, dataset: str) -> Job:
        definition = self.config["datasets"][dataset]
        spec = {"classes": definition["classes"], "templates": definition["templates"], **self._machine()}
        needs = {"backbone": self.backbone(backbone)}
        return self._add("heads", {"tower": backbone, "dataset": dataset}, spec, needs, "evaluate")

    @once
    def model(self, name: str, backbone: str, seed: int) -> Job:
        entry = next(m for m in self.config["models"] if m["name"] == name)
        needs = {"backbone": self.backbone(backbone)}
        spec = {"method": entry["method"], "settings": entry["settings"]}
        roots = [_component("methods", entry["method"])]
        name = f"{backbone}.{name}"  # names have no dots: a model that trained ends in .s<seed>, and no other does
        if not entry["trains"]:
            return self._add("adopt", {"model": name}, spec, needs, "train", roots)
        source = entry["source"]
        needs["data"] = self.prepare(source["dataset"], source["split"])
        needs["head"] = self.head(backbone, source["dataset"])
        spec |= self._machine() | {"recipe": source["recipe"], "eps": eps_text(entry["eps"]), "seed": seed}
        spec["kernels"] = self.config["kernels"]
        name += f".s{seed}"
        return self._add("finetune", {"model": name}, spec, needs, "train", roots)

    def cell(
        self, protocol: dict, entry: dict, backbone: str, seed: int, dataset: str, attack: dict, eps: Fraction
    ) -> Job:
        model = self.model(entry["name"], backbone, seed)
        needs = {
            "model": model,
            "backbone": self.backbone(backbone),
            "head": self.head(backbone, dataset),
            "data": self.prepare(dataset, protocol["split"]),
        }
        text = eps_text(eps)
        spec = {key: protocol[key] for key in ("norm", "images", "verdict", "batch", "precision")}
        spec |= {"attack": attack["attack"], "settings": attack["settings"], "eps": text, "method": entry["method"]}
        spec |= {"seed": self.config["seed"], "kernels": self.config["kernels"], **self._machine()}
        wildcards = {
            "protocol": protocol["name"],
            "model": model.wildcards["model"],
            "dataset": dataset,
            "attack": attack["name"],
            "eps": text.replace("/", "_"),
        }
        roots = [_component("attacks", attack["attack"]), _component("methods", entry["method"])]
        job = self._add("evaluate", wildcards, spec, needs, "evaluate", roots)
        self.asked[job.record] = Asked(entry, backbone, seed, dataset)
        return job

    # -- what reads everything ---------------------------------------------------------------------------------------

    def _protocol(self, protocol: dict) -> Iterable[Job]:
        for entry in self.config["models"]:
            for backbone in entry["backbones"]:
                for seed in entry["seeds"] if entry["trains"] else entry["seeds"][:1]:
                    for dataset in protocol["datasets"]:
                        for attack in protocol["attacks"]:
                            for eps in protocol["eps"]:
                                yield self.cell(protocol, entry, backbone, seed, dataset, attack, eps)

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
        return self._add("tables", {}, spec, {}, "report", ["zsr/report/tables.py"])

    def _figures(self) -> Job:
        spec = {"config": self._asked(), "trained": self.digest(self.trained)}
        return self._add("figures", {}, spec, {"tables": self.tables}, "report", ["zsr/report/figures.py"])

    def _report(self) -> Job:
        sheets = self.digest(self.sheets.values())
        spec = {"config": self._asked(), "title": self.config["report"]["title"], "sheets": sheets}
        needs = {"tables": self.tables, "figures": self.figures}
        return self._add("report", {}, spec, needs, "report", ["zsr/report/page.py"])

    @staticmethod
    def digest(jobs: Iterable[Job]) -> str:
        """One hash for a list of results: where each lies and what it must be."""
        return short_hash("\n".join(f"{job.record} {job.hash}" for job in jobs))

    def _asked(self) -> dict:
        """The config as it was written, as far as tables depend on it: a job makes the same plan from it again."""
        return {key: value for key, value in self.raw.items() if key not in ("results", "report")}

    def _about(self) -> str:
        """What tables and report say of the datasets beside the numbers."""
        return short_hash(canonical({name: self.config["datasets"][name] for name in sorted(self.config["datasets"])}))

    def _machine(self) -> dict:
        return {"device": self.config["device"], "threads": self.config["threads"]}

    def _add(
        self, rule: str, wildcards: dict, spec: dict, needs: dict[str, Job], env: str, roots: Iterable[str] = ()
    ) -> Job:
        key = (rule, tuple(sorted(wildcards.items())))
        roots = sorted({f"{SCRIPTS}/{rule}.py", *roots})
        spec = {
            "job": rule,
            **spec,
            "needs": {role: job.hash for role, job in needs.items()},
            "code": {"roots": roots, "digest": fingerprint(roots).digest},
            "environment": {"name": env, "pins": environment(env)},
        }
        job = Job(rule, wildcards, spec, needs)
        if key in self.jobs:
            if self.jobs[key].text != job.text:
                raise ZsrError(f"{job.title}: the config asks for two different results at one path; rename one")
            return self.jobs[key]
        self.jobs[key] = job
        self._paths |= dict.fromkeys(job.outputs.values(), job)
        return job


def _component(kind: str, name: str) -> str:
    return str(registry.component_path(kind, name).relative_to(registry.ROOT))

"""The jobs upstream of the cells: prepared sets, backbones, class embeddings, models.

Nothing here imports torch: every cluster job parses the Snakefile again.
"""

from collections.abc import Callable
from functools import cache, wraps

from zsr import registry
from zsr.config import lineage
from zsr.config.datasets import source_of
from zsr.config.pretraining import words_of
from zsr.data import transforms
from zsr.epsilon import eps_text
from zsr.models.prompt_length import check_context
from zsr.plan.graph import Graph, PlannedJob


def once(method: Callable[..., PlannedJob]) -> Callable[..., PlannedJob]:
    """Cache a method's jobs by its arguments: a study of 15,000 cells asks 60,000 times."""

    @wraps(method)
    def cached(self: "UpstreamJobs", *key: str | int) -> PlannedJob:
        if (method.__name__, key) not in self.made:
            self.made[method.__name__, key] = method(self, *key)
        return self.made[method.__name__, key]

    return cached


class UpstreamJobs:
    """Adds to a graph what the cells of a complete config read; one method for each kind of job."""

    def __init__(self, graph: Graph, config: dict) -> None:
        self.graph = graph
        self.config = config
        self.made: dict[tuple, PlannedJob] = {}
        self.models = {entry["name"]: entry for entry in config["models"]}
        self.backbones = {entry["name"]: entry for entry in config["backbones"]}
        self.files: dict[str, dict[str, str]] = {}  # record of a fetched result -> role -> its local file

    @once
    def prepare(self, dataset: str, split: str, transform: str = "native") -> PlannedJob:
        definition = self.config["datasets"][dataset]
        spec = {
            "reader": definition["reader"],
            "options": definition["options"],
            "split": split,
            "count": definition["splits"][split],
            "transform": transform,
            **source_of(definition, split, transform, self.config["decoded_gigabytes"]),
        }
        roots = [component("data/readers", definition["reader"])]
        wildcards = {"dataset": dataset, "split": split, "transform": transform}
        return self.graph.add("prepare", wildcards, spec, {}, "data", roots)

    @once
    def backbone(self, name: str) -> PlannedJob:
        entry = self.backbones[name]
        roots = [kind_of(entry)]
        if "source" in entry:
            spec = {"kind": entry["kind"], "definition": entry["definition"], "source": entry["source"]}
            return self._from_file(self.graph.add("fetch", {"backbone": name}, spec, {}, "evaluate", roots), entry)
        if "dual" in entry:
            return self._joined(name, entry, roots)
        pretrain = entry["pretrain"]
        needs = {"data": self.prepare(pretrain["dataset"], pretrain["split"])}
        spec = {
            "arch": entry["definition"],
            "recipe": pretrain["recipe"],
            "seed": self.config["seed"],
            **words_of(self.config, pretrain),
            **self.machine(),
        }
        if "teacher" in pretrain:
            needs["teacher"] = self.backbone(pretrain["teacher"])
            roots.append(kind_of(self.backbones[pretrain["teacher"]]))
        return self.graph.add("pretrain", {"backbone": name}, spec, needs, "train", roots)

    def _joined(self, name: str, entry: dict, roots: list[str]) -> PlannedJob:
        """A backbone of three parts; where its projection is learned, images and prompts (or captions) come too."""
        spec, needs = {"definition": entry["definition"], "parts": entry["parts"]}, {}
        if learn := entry["dual"].get("learn"):
            about = self.config["datasets"][learn["dataset"]]
            transform = transforms.choose(learn["transform"], about, f"backbones '{name}'")
            needs["data"] = self.prepare(learn["dataset"], learn["split"], transform)
            spec |= {"classes": about["classes"], "templates": about["templates"], "recipe": learn["recipe"]}
            spec |= {"seed": self.config["seed"], **self.machine()}
        job = self.graph.add("join", {"backbone": name}, spec, needs, "train", roots)
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
    def head(self, backbone: str, dataset: str) -> PlannedJob:
        definition = self.config["datasets"][dataset]
        spec = {"classes": definition["classes"], "templates": definition["templates"], **self.machine()}
        needs = {"backbone": self.backbone(backbone)}
        roots = [kind_of(self.backbones[backbone])]
        return self.graph.add("heads", {"tower": backbone, "dataset": dataset}, spec, needs, "evaluate", roots)

    @once
    def base(self, name: str, backbone: str, seed: int) -> PlannedJob:
        """The towers that a model is made on: its backbone's, or those of the model that it starts from."""
        entry = self.models[name]
        if "start" not in entry:
            return self.backbone(backbone)
        start = self.models[entry["start"]]
        at = lineage.seed_of(start, seed)
        model = self.model(start["name"], backbone, at)
        needs = {"backbone": self.base(start["name"], backbone, at), "model": model}
        return self.graph.add("promote", {"tower": model.wildcards["model"]}, {}, needs, "train")

    @once
    def texts(self, name: str, backbone: str, seed: int, dataset: str) -> PlannedJob:
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
        roots = [component("methods", entry["method"]), kind_of(self.backbones[backbone])]
        return self.graph.add("texts", wildcards, spec | self.machine(), needs, "evaluate", roots)

    @once
    def model(self, name: str, backbone: str, seed: int) -> PlannedJob:
        entry = self.models[name]
        if "interpolate" in entry:
            return self._interpolation(entry, backbone, seed)
        needs = {"backbone": self.base(name, backbone, seed)}
        spec = {"method": entry["method"], "settings": entry["settings"]}
        roots = [component("methods", entry["method"])]
        name = f"{backbone}.{name}"  # names have no dots: a model that trained ends in .s<seed>, and no other does
        if "published" in entry:
            spec |= {"settings": {}, "source": entry["published"]["source"]}
            made = self.graph.add("publish", {"model": name}, spec, needs, "evaluate", roots)
            return self._from_file(made, entry["settings"])
        if not entry["trains"]:
            return self.graph.add("adopt", {"model": name}, spec, needs, "train", roots)
        source = entry["source"]
        if entry["trains_text"]:
            self._fits(entry, backbone, source["dataset"])
        needs["data"] = self.prepare(source["dataset"], source["split"], source["transform"])
        if self.config["datasets"][source["dataset"]]["classes"]:
            needs["head"] = self.head(backbone, source["dataset"])
        if "teacher" in entry:
            needs["teacher"] = self._parent(entry["teacher"], backbone, seed)
            roots.append(component("methods", self.models[entry["teacher"]]["loads"]))
        spec["labelled"] = self.config["datasets"][source["dataset"]]["labelled"]
        spec |= self.machine() | {"recipe": source["recipe"], "seed": seed}
        if entry["attacked"]:
            spec |= {"eps": eps_text(entry["eps"]), "kernels": self.kernels()}
        else:  # neither ε nor the steps can matter
            spec["recipe"] = {key: value for key, value in source["recipe"].items() if not key.startswith("attack_")}
        name += f".s{seed}"
        roots.append(kind_of(self.backbones[backbone]))
        return self.graph.add("finetune", {"model": name}, spec, needs, "train", roots)

    def _interpolation(self, entry: dict, backbone: str, seed: int) -> PlannedJob:
        mix = entry["interpolate"]
        needs = {"backbone": self.backbone(backbone)}
        needs |= {"start": self._parent(mix["from"], backbone, seed), "end": self._parent(mix["to"], backbone, seed)}
        spec = {"method": entry["loads"], "settings": entry["settings"], "alpha": float(mix["alpha"])}
        percent = lineage.percent(mix["alpha"], entry["name"])
        name = f"{backbone}.{entry['base']}.a{percent}" + (f".s{seed}" if entry["trains"] else "")
        return self.graph.add("interpolate", {"model": name}, spec, needs, "train")

    def _parent(self, name: str, backbone: str, seed: int) -> PlannedJob:
        """The model that another one with this seed comes from."""
        return self.model(name, backbone, lineage.seed_of(self.models[name], seed))

    def _from_file(self, job: PlannedJob, entry: dict) -> PlannedJob:
        """Remember the path that the spec leaves out: it holds what the file contains."""
        if entry.get("weights"):
            self.files[job.record] = {"weights": entry["weights"]}
        return job

    def _fits(self, entry: dict, backbone: str, dataset: str) -> None:
        """Refuse a model whose learned prompts are too long for a class name, before any job runs."""
        arch = self.backbones[backbone]["definition"]
        names = self.config["datasets"][dataset]
        where = f"models '{entry['name']}' on '{dataset}'"
        check_context(arch, entry["settings"], names["classes"], names["templates"], where)

    def machine(self) -> dict:
        """What a job runs on, as far as bits depend on it."""
        return {"device": self.config["device"], "threads": self.config["threads"]}

    def kernels(self) -> str:
        """The kernels of attacks: on a CPU `auto` is the reference."""
        kernels = self.config["kernels"]
        return "reference" if (kernels, self.config["device"]) == ("auto", "cpu") else kernels


@cache
def component(kind: str, name: str) -> str:
    """The file of a registered method, attack or objective: code of the jobs that name it."""
    return str(registry.component_path(kind, name).relative_to(registry.ROOT))


def kind_of(backbone: dict) -> str:
    """The file that builds a backbone's model: loaded by name, so a job's code must name it."""
    return f"zsr/models/kinds/{registry.filename(backbone['kind'])}.py"

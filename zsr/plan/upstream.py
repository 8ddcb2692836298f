"""The jobs upstream of the cells: prepared sets, backbones, class embeddings, models.

Nothing here imports torch: every cluster job parses the Snakefile again.
"""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Concatenate, ParamSpec

from zsr import registry
from zsr.config import lineage
from zsr.config.datasets import prompts_of, source_of
from zsr.config.entries import (
    BackboneEntry,
    Config,
    DualParts,
    Interpolation,
    LocalWeights,
    ModelEntry,
    Pretraining,
    SourceSet,
    WeightSource,
)
from zsr.config.pretraining import texts_of
from zsr.epsilon import eps_text
from zsr.models.prompt_length import check_context
from zsr.plan.graph import Graph, PlannedJob, Spec

P = ParamSpec("P")
Method = Callable[Concatenate["UpstreamJobs", P], PlannedJob]


def once(method: Method[P]) -> Method[P]:
    """Cache a method's jobs by its arguments: a study of 15,000 cells asks 60,000 times."""

    @wraps(method)
    def cached(self: "UpstreamJobs", /, *args: P.args, **kwargs: P.kwargs) -> PlannedJob:
        key = (method.__name__, args, *kwargs.items())
        if key not in self.made:
            self.made[key] = method(self, *args, **kwargs)
        return self.made[key]

    return cached


class UpstreamJobs:
    """Adds to a graph what the cells of a complete config read; one method for each kind of job."""

    def __init__(self, graph: Graph, config: Config) -> None:
        self.graph = graph
        self.config = config
        self.made: dict[tuple[object, ...], PlannedJob] = {}
        self.files: dict[str, dict[str, str]] = {}  # record of a fetched result -> role -> its local file

    @once
    def prepare(self, dataset: str, split: str, transform: str = "native") -> PlannedJob:
        definition = self.config.datasets[dataset]
        spec = {
            "reader": definition.reader,
            "options": definition.options,
            "split": split,
            "count": definition.splits[split],
            "transform": transform,
            **source_of(definition, split, transform, self.config.decoded_gigabytes),
        }
        roots = [component("data/readers", definition.reader)]
        wildcards = {"dataset": dataset, "split": split, "transform": transform}
        return self.graph.add("prepare", wildcards, spec, {}, "data", roots)

    def _images_of(self, source_set: SourceSet) -> PlannedJob:
        """The images that a training sees."""
        return self.prepare(source_set.dataset, source_set.split, source_set.transform)

    @once
    def backbone(self, name: str) -> PlannedJob:
        entry = self.config.backbones[name]
        if isinstance(entry.weights_from, Pretraining):
            return self._pretrained(entry, entry.weights_from)
        if isinstance(entry.weights_from, DualParts):
            return self._joined(entry, entry.weights_from)
        source = entry.weights_from
        spec = {"kind": entry.kind, "definition": entry.definition, "source": source.spec()}
        job = self.graph.add("fetch", {"backbone": name}, spec, {}, "evaluate", [kind_of(entry)])
        return self._from_files(job, {"weights": source})

    def _pretrained(self, entry: BackboneEntry, pretraining: Pretraining) -> PlannedJob:
        needs = {"data": self._images_of(pretraining.source_set)}
        spec = {
            "arch": entry.definition,
            "recipe": pretraining.recipe,
            "seed": self.config.seed,
            **texts_of(pretraining, self.config.datasets),
            **self.machine(),
        }
        roots = [kind_of(entry)]
        if pretraining.teacher is not None:
            needs["teacher"] = self.backbone(pretraining.teacher)
            roots.append(kind_of(self.config.backbones[pretraining.teacher]))
        return self.graph.add("pretrain", {"backbone": entry.name}, spec, needs, "train", roots)

    def _joined(self, entry: BackboneEntry, parts: DualParts) -> PlannedJob:
        """A backbone of three parts; where its projection is learned, images and prompts (or captions) come too."""
        sources = parts.weights_from
        spec: Spec = {
            "definition": entry.definition,
            "parts": {part: source.spec() for part, source in sources.items()},
        }
        needs = {}
        if (learned := parts.projection) is not None:
            needs["data"] = self._images_of(learned.source_set)
            spec |= prompts_of(self.config.datasets[learned.source_set.dataset])
            spec |= {"recipe": learned.recipe, "seed": self.config.seed, **self.machine()}
        job = self.graph.add("join", {"backbone": entry.name}, spec, needs, "train", [kind_of(entry)])
        return self._from_files(job, sources)

    def _from_files(self, job: PlannedJob, sources: Mapping[str, WeightSource]) -> PlannedJob:
        """Remember the paths that the spec leaves out: it holds what the files contain."""
        files = {role: source.path for role, source in sources.items() if isinstance(source, LocalWeights)}
        if files:
            self.files[job.record] = files
        return job

    @once
    def head(self, backbone: str, dataset: str) -> PlannedJob:
        spec = {**prompts_of(self.config.datasets[dataset]), **self.machine()}
        needs = {"backbone": self.backbone(backbone)}
        roots = [kind_of(self.config.backbones[backbone])]
        return self.graph.add("heads", {"tower": backbone, "dataset": dataset}, spec, needs, "evaluate", roots)

    @once
    def base(self, name: str, backbone: str, seed: int) -> PlannedJob:
        """The towers that a model is made on: its backbone's, or those of the model that it starts from."""
        start = self.config.models[name].start
        if start is None:
            return self.backbone(backbone)
        at = lineage.seed_of(self.config.models[start], seed)
        model = self.model(start, backbone, at)
        needs = {"backbone": self.base(start, backbone, at), "model": model}
        return self.graph.add("promote", {"tower": model.wildcards["model"]}, {}, needs, "train")

    @once
    def texts(self, name: str, backbone: str, seed: int, dataset: str) -> PlannedJob:
        """The class embeddings that a model is evaluated with: its backbone's, or its own where it trained text."""
        entry = self.config.models[name]
        if not entry.trains_text:
            return self.head(backbone, dataset)
        self._check_context(entry, backbone, dataset)
        model = self.model(name, backbone, seed)
        spec = {**prompts_of(self.config.datasets[dataset]), "method": entry.method, **self.machine()}
        needs = {"model": model, "backbone": self.base(name, backbone, seed)}
        wildcards = {"model": model.wildcards["model"], "dataset": dataset}
        roots = [component("methods", entry.method), kind_of(self.config.backbones[backbone])]
        return self.graph.add("texts", wildcards, spec, needs, "evaluate", roots)

    @once
    def model(self, name: str, backbone: str, seed: int) -> PlannedJob:
        entry = self.config.models[name]
        if entry.interpolation is not None:
            return self._interpolated(entry, entry.interpolation, backbone, seed)
        if entry.trains:
            return self._fine_tuned(entry, backbone, seed)
        needs = {"backbone": self.base(name, backbone, seed)}
        roots = [component("methods", entry.method)]
        wildcards = {"model": f"{backbone}.{name}"}
        if entry.published is not None:
            source = entry.published.weights_from
            spec = {"method": entry.method, "settings": {}, "source": source.spec()}
            job = self.graph.add("publish", wildcards, spec, needs, "evaluate", roots)
            return self._from_files(job, {"weights": source})
        spec = {"method": entry.method, "settings": entry.settings}
        return self.graph.add("adopt", wildcards, spec, needs, "train", roots)

    def _fine_tuned(self, entry: ModelEntry, backbone: str, seed: int) -> PlannedJob:
        dataset = entry.source_set.dataset
        definition = self.config.datasets[dataset]
        if entry.trains_text:
            self._check_context(entry, backbone, dataset)
        needs = {"backbone": self.base(entry.name, backbone, seed), "data": self._images_of(entry.source_set)}
        roots = [component("methods", entry.method), kind_of(self.config.backbones[backbone])]
        if definition.classes:
            needs["head"] = self.head(backbone, dataset)
        if entry.teacher is not None:
            needs["teacher"] = self._parent(entry.teacher, backbone, seed)
            roots.append(component("methods", self.config.models[entry.teacher].opened_by))
        spec = {
            "method": entry.method,
            "settings": entry.settings,
            "labelled": definition.labelled,
            "recipe": entry.recipe,
            "seed": seed,
            **self.machine(),
        }
        if entry.attacked:
            spec |= {"eps": eps_text(entry.eps), "kernels": self.kernels()}
        else:  # neither ε nor the steps can matter
            spec["recipe"] = {key: value for key, value in entry.recipe.items() if not key.startswith("attack_")}
        # names have no dots: a model that trained ends in .s<seed>, and no other does
        wildcards = {"model": f"{backbone}.{entry.name}.s{seed}"}
        return self.graph.add("finetune", wildcards, spec, needs, "train", roots)

    def _interpolated(self, entry: ModelEntry, mix: Interpolation, backbone: str, seed: int) -> PlannedJob:
        needs = {
            "backbone": self.backbone(backbone),
            "start": self._parent(mix.start, backbone, seed),
            "end": self._parent(mix.end, backbone, seed),
        }
        spec = {"method": entry.opened_by, "settings": entry.settings, "alpha": mix.alpha}
        name = f"{backbone}.{mix.base}.a{mix.percent}" + (f".s{seed}" if entry.trains else "")
        return self.graph.add("interpolate", {"model": name}, spec, needs, "train")

    def _parent(self, name: str, backbone: str, seed: int) -> PlannedJob:
        """The model that another one with this seed comes from."""
        return self.model(name, backbone, lineage.seed_of(self.config.models[name], seed))

    def _check_context(self, entry: ModelEntry, backbone: str, dataset: str) -> None:
        """Refuse a model whose learned prompts are too long for a class name, before any job runs."""
        arch, definition = self.config.backbones[backbone].definition, self.config.datasets[dataset]
        where = f"models '{entry.name}' on '{dataset}'"
        check_context(arch, entry.settings, definition.classes, definition.templates, where)

    def machine(self) -> Spec:
        """What a job runs on, as far as bits depend on it."""
        return {"device": self.config.device, "threads": self.config.threads}

    def kernels(self) -> str:
        """The kernels of attacks: on a CPU `auto` is the reference."""
        kernels = self.config.kernels
        return "reference" if (kernels, self.config.device) == ("auto", "cpu") else kernels


@cache
def component(kind: str, name: str) -> str:
    """The file of a registered method, attack or reader: code of the jobs that name it."""
    return str(registry.component_path(kind, name).relative_to(registry.ROOT))


def kind_of(backbone: BackboneEntry) -> str:
    """The file that builds a backbone's model: loaded by name, so a job's code must name it."""
    return f"zsr/models/kinds/{registry.filename(backbone.kind)}.py"

"""What a config becomes: one frozen entry for each part of it, with every default filled in and every name checked.

The steps of `zsr.config.complete` make the entries, the plan and the report read them. A mapping that is left open
(`settings`, `recipe`, `options`) holds what one component or recipe declares, checked against its declaration.

The parts of an entry are named tuples: frozen dataclasses would add 8 ms to every reading of a config, and each job of
a cluster reads one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

Written = Mapping[str, Any]  # a part of a config as YAML gives it
Settings = Mapping[str, Any]  # all settings of one component or recipe, with their defaults
Definition = dict[str, Any]  # the JSON that rebuilds a backbone's model

# -- datasets --------------------------------------------------------------------------------------------------------


class DatasetFile(NamedTuple):
    """One file of a dataset; None is what nobody has said of it."""

    path: str
    urls: list[str] | None = None
    md5: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    unpacked: list[str] | None = None
    splits: list[str] | None = None  # that read it; None: all


@dataclass(frozen=True, eq=False)
class DatasetDefinition:
    """A dataset: its reader, its splits, its classes and their prompts, and the files that it lies in."""

    name: str
    reader: str
    options: Settings
    splits: Mapping[str, int]  # number of images
    uncounted: tuple[str, ...]  # splits of a half of the classes, whose number of images only the source knows
    size: int | str | None  # the side of its images, `varied`, or unknown
    classes: tuple[str, ...]
    keys: tuple[str, ...]  # what the source calls each of all its classes
    all_classes: int  # how many classes the source has; `classes` may be a half of them
    half: str
    templates: tuple[str, ...]
    transforms: Mapping[str, str]  # what a paper's code does with it, where it differs
    encoded: tuple[str, ...]  # splits that are never stored decoded
    folder: str
    files: tuple[DatasetFile, ...]
    set_file: str | None  # the file of zsr/data/sets/ that has links and advice
    missing: str  # advice
    labelled: bool
    about: str
    citation: str
    licence: str
    written: Written  # as its file and the config write it, with keys that no field holds


Datasets = Mapping[str, DatasetDefinition]  # by name


class SourceSet(NamedTuple):
    """The images that a training sees."""

    dataset: str
    split: str
    transform: str = "native"


# -- backbones -------------------------------------------------------------------------------------------------------


class HubWeights(NamedTuple):
    """Weights in a repository of the hub."""

    repository: str
    file: str | None = None  # "": the first known name that the repository has; None: each part looks for its own
    revision: str | None = None
    tag: str | None = None  # open_clip's name of them, `ViT-B-32-quickgelu:openai`
    quick_gelu: bool | None = None  # of a hub model whose config does not say it

    def spec(self) -> dict[str, object]:
        """As specs write it."""
        keys = ("hub", "file", "revision", "tag", "quick_gelu")
        values = (self.repository, self.file, self.revision, self.tag, self.quick_gelu)
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}


class LocalWeights(NamedTuple):
    """Weights in a local file or folder, named by their content: moved they are the same, replaced they are others."""

    sha256: str
    path: str  # as the config writes it, with variables; in no spec

    def spec(self) -> dict[str, object]:
        """As specs write it."""
        return {"sha256": self.sha256}


WeightSource = HubWeights | LocalWeights


class Pretraining(NamedTuple):
    """A backbone that is pretrained here."""

    source_set: SourceSet
    recipe: Settings
    teacher: str | None  # another backbone
    texts: tuple[str, ...]  # sets whose class prompts the teacher is asked for too


class Projection(NamedTuple):
    """The training of a dual encoder's projection."""

    source_set: SourceSet
    recipe: Settings


class DualParts(NamedTuple):
    """A backbone that is put together: a tower of timm, sentence vectors, a projection from a file or learned here."""

    weights_from: Mapping[str, WeightSource]  # part -> where its weights come from
    projection: Projection | None  # None: it has weights


@dataclass(frozen=True, eq=False)
class BackboneEntry:
    """A backbone, and where its weights come from."""

    name: str
    kind: str  # the file of zsr/models/kinds/ that builds it
    definition: Definition | None  # None while only the hub knows it
    origin: str  # the name that papers and open_clip know: `ViT-B-32-quickgelu:openai`
    weights_from: WeightSource | Pretraining | DualParts


# -- models ----------------------------------------------------------------------------------------------------------


class FineTune(NamedTuple):
    """The ε and source set of a model that sets none of its own; `written`: all as the config has it, to be changed."""

    eps: Fraction
    source_set: SourceSet
    written: Written


class Interpolation(NamedTuple):
    """A mixture of the weights of two models."""

    base: str  # the entry of the config, which has one model per alpha
    start: str  # the model at alpha 0
    end: str  # the model at alpha 1
    alpha: float
    percent: int


class Published(NamedTuple):
    """Weights that others have trained, and what the report must know of them."""

    weights_from: WeightSource
    eps: Fraction
    trained_on: str
    method: str | None


@dataclass(frozen=True, eq=False)
class ModelEntry:
    """A row of the table: one model on some backbones with some seeds."""

    name: str
    method: str  # `interpolation` where no method makes it
    opened_by: str  # the method that opens its weights
    settings: Settings
    backbones: tuple[str, ...]
    seeds: tuple[int, ...]
    eps: Fraction  # of its training
    source_set: SourceSet
    recipe: Settings
    seen_sets: tuple[str, ...]  # the sets that it and the models that it comes from were trained on
    trains: bool
    trains_text: bool  # it has class embeddings of its own
    attacked: bool  # it trains on adversarial images
    zero_shot: bool
    teacher: str | None = None  # another model
    start: str | None = None  # another model, whose tower stands in the backbone's place
    interpolation: Interpolation | None = None
    published: Published | None = None


# -- protocols -------------------------------------------------------------------------------------------------------


class AttackEntry(NamedTuple):
    """One attack of a protocol."""

    name: str
    kind: str  # the file of zsr/attacks/
    settings: Settings
    verdict: str
    after: str | None  # an attack further up, whose fooled images are not attacked again
    surrogate: str | None  # the model that the examples of a transfer attack are made on


class EvaluationSet(NamedTuple):
    """What a protocol takes of one dataset."""

    split: str
    transform: str
    images: int
    shards: int  # jobs that share the images of a cell


@dataclass(frozen=True, eq=False)
class ProtocolEntry:
    """A group of columns of the table."""

    name: str
    datasets: Mapping[str, EvaluationSet]
    attacks: tuple[AttackEntry, ...]
    eps: tuple[Fraction, ...]
    norm: str
    batch: int
    precision: str
    store: int | str
    worst_case: bool
    chain_eps: bool


@dataclass(frozen=True, eq=False)
class Config:
    """A complete config; its entries by name, in the order of the file."""

    results: str
    title: str  # of the report
    device: str
    threads: int
    cells_per_gpu: int
    seed: int
    kernels: str
    data_root: str
    download: bool
    decoded_gigabytes: float
    datasets: Datasets
    backbones: Mapping[str, BackboneEntry]
    finetune: FineTune
    models: Mapping[str, ModelEntry]
    protocols: Mapping[str, ProtocolEntry]

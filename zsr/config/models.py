"""Models as the config means them: the method that makes each, its settings, seeds, backbones and source set.

What a model takes from other models (a teacher, a start, the ends of an interpolation) is settled when all entries
are complete: see `zsr.config.lineage`.
"""

from collections.abc import Mapping, Sequence

from zsr import registry
from zsr.config import lineage
from zsr.config.entries import (
    BackboneEntry,
    DatasetDefinition,
    Datasets,
    FineTune,
    ModelEntry,
    ProtocolEntry,
    Settings,
    Written,
)
from zsr.config.finetune import training_of
from zsr.config.method_traits import MethodTraits, traits_of
from zsr.config.published import complete_published
from zsr.config.settings import settings_of
from zsr.epsilon import eps_of
from zsr.errors import ZsrError, short, unknown
from zsr.models.catalogue import needs_tower, needs_words
from zsr.models.prompt_length import check_depth

Backbones = Mapping[str, BackboneEntry]


def complete_models(
    entries: Sequence[Written], datasets: Datasets, backbones: Backbones, finetune: FineTune, seed: int
) -> dict[str, ModelEntry]:
    """All models by name; an interpolation has one for each alpha."""
    parts: list[lineage.Part] = []
    for i, entry in enumerate(entries):
        where = f"models[{i}] '{entry['name']}'"
        for name in entry.get("backbones", []):
            if name not in backbones:
                raise unknown("backbone", name, backbones, f"{where}.backbones")
        lineage.check_shape(entry, where)
        if "interpolate" in entry:
            parts += lineage.mixtures(entry)
        else:
            parts.append(_model(entry, datasets, backbones, finetune, seed, where))
    return lineage.settle(parts)


def _model(
    entry: Written, datasets: Datasets, backbones: Backbones, finetune: FineTune, seed: int, where: str
) -> ModelEntry:
    """One model that a method makes, as if it came from no other model."""
    method = entry["method"]
    settings = settings_of("methods", method, entry["settings"], where)
    traits = traits_of(method)
    _check_template(settings, traits, where)
    _check_teacher(entry, traits, where)
    chosen = {name: backbones[name] for name in entry.get("backbones", backbones)}
    for backbone in chosen.values():
        _check_backbone(method, traits, settings, backbone, where)
    if not traits.trains and ("eps" in entry or entry["recipe"] or "seeds" in entry):
        raise ZsrError(f"{where}: '{method}' does not train; take out its eps, seeds and recipe")
    eps = eps_of(entry["eps"], f"{where}.eps") if "eps" in entry else finetune.eps
    source_set, recipe = training_of(finetune.written, entry["recipe"], datasets, f"{where}.recipe")
    published = complete_published(settings, chosen.values(), where) if method == "published" else None
    if traits.trains:
        settings = _fitted(settings, method, traits, datasets[source_set.dataset], where)
    return ModelEntry(
        name=entry["name"],
        method=method,
        opened_by=method,
        settings=settings,
        backbones=tuple(chosen),
        seeds=tuple(entry.get("seeds", [seed])),
        eps=eps,
        source_set=source_set,
        recipe=recipe,
        seen_sets=(source_set.dataset,),
        trains=traits.trains,
        trains_text=traits.trains_text,
        attacked=_attacked(settings, traits),
        zero_shot=traits.zero_shot,
        teacher=entry.get("teacher"),
        start=entry.get("start"),
        published=published,
    )


def _check_template(settings: Settings, traits: MethodTraits, where: str) -> None:
    template = settings.get("template", "{}")
    if "{}" not in template and not traits.trains_text:  # those of learned prompts: check_context
        raise ZsrError(f"{where}.settings.template: {short(repr(template))} has no place {{}} for the class name")


def _check_teacher(entry: Written, traits: MethodTraits, where: str) -> None:
    if traits.needs_teacher and "teacher" not in entry:
        raise ZsrError(f"{where}: '{entry['method']}' learns from a second model; name one of the config as `teacher`")
    if "teacher" in entry and not traits.needs_teacher:
        raise ZsrError(f"{where}: '{entry['method']}' takes no teacher; take out `teacher`")


def _check_backbone(method: str, traits: MethodTraits, settings: Settings, backbone: BackboneEntry, where: str) -> None:
    """Whether a backbone has what the method needs of its towers."""
    if traits.needs_tokens and (why := needs_tower(backbone.definition)):
        raise ZsrError(
            f"{where}: '{method}' needs a VisionTransformer, '{backbone.name}' {why}; name the others in `backbones`"
        )
    if traits.trains_text and (why := needs_words(backbone.definition)):
        raise ZsrError(
            f"{where}: '{method}' learns words of CLIP's text tower, '{backbone.name}' {why}; name the others in "
            "`backbones`"
        )
    if "depth" in settings:
        check_depth(backbone.definition, settings, where)


def _attacked(settings: Settings, traits: MethodTraits) -> bool:
    """Whether it trains on adversarial images; prompts do what the method does whose loss is their `criterion`."""
    criterion = settings.get("criterion")
    return (traits_of(criterion) if criterion in registry.names("methods") else traits).attacked


def _fitted(
    settings: Settings, method: str, traits: MethodTraits, definition: DatasetDefinition, where: str
) -> Settings:
    """The settings for a source set, which must have what the method needs of it."""
    name, classes = definition.name, len(definition.classes)
    if traits.needs_classes and not classes:
        raise ZsrError(
            f"{where}: '{method}' compares images with class texts, the source dataset '{name}' has no classes; give "
            "it `classes` (and `labelled: false`), or take a method that needs none (fare)"
        )
    if traits.needs_labels and not definition.labelled:
        raise ZsrError(
            f"{where}: '{method}' needs labels, the source dataset '{name}' has none; take a method that needs none "
            "(tecoa-pseudo, agft, fare, …)"
        )
    if traits.zero_shot:
        return settings
    if settings["classes"] not in (0, classes):  # its read-out has one output per class of the source
        raise ZsrError(f"{where}: classes is {settings['classes']}, '{name}' has {classes}; leave it out")
    return {**settings, "classes": classes}


def can_classify(model: ModelEntry, dataset: str, datasets: Datasets) -> bool:
    """A model that is not zero-shot knows the classes it was trained on, in their order, and no others."""
    return model.zero_shot or datasets[dataset].classes == datasets[model.source_set.dataset].classes


def check_readouts(
    models: Mapping[str, ModelEntry], protocols: Mapping[str, ProtocolEntry], datasets: Datasets
) -> None:
    """Refuse a model that is not zero-shot where no protocol has a set with its classes."""
    evaluated = {name for protocol in protocols.values() for name in protocol.datasets}
    for model in models.values():
        if not any(can_classify(model, name, datasets) for name in evaluated):
            raise ZsrError(
                f"models '{model.name}': '{model.method}' is not zero-shot, and no protocol has a set with the "
                f"classes of '{model.source_set.dataset}', which it trains on; set `recipe: {{dataset: …}}`"
            )

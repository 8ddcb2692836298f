"""Pretraining as the config means it: a dataset, a recipe, and perhaps a teacher with texts beyond the dataset.

A teacher is another backbone of the config, made in any way. Nothing here imports torch: how wide a dual encoder or a
hub model is, only the job learns.
"""

from collections.abc import Mapping

from zsr.config.datasets import has_captions, need_split, need_words, prompts_of
from zsr.config.entries import BackboneEntry, Datasets, Pretraining, SourceSet, Written
from zsr.config.settings import recipe_of
from zsr.errors import ZsrError, unknown

RECIPES = {False: ("pretrain.py", "PretrainRecipe"), True: ("distillation.py", "DistilRecipe")}


def complete_pretraining(given: Written, datasets: Datasets, where: str) -> Pretraining:
    """The recipe of one entry; the teacher is looked at when all backbones are complete."""
    written = dict(given)
    name, split = written.pop("dataset"), written.pop("split")
    teacher, texts = written.pop("teacher", None), written.pop("texts", [])
    need_split(datasets[name], split, f"{where}.split")
    need_words(datasets[name], where)
    if texts and teacher is None:
        raise ZsrError(f"{where}: `texts` are for a teacher to say where they belong; name a `teacher`")
    for other in texts:
        if not datasets[other].classes:
            raise ZsrError(f"{where}.texts: '{other}' has no classes and so no prompts; take it out")
    recipe = recipe_of(*RECIPES[teacher is not None], written, where)
    return Pretraining(SourceSet(name, split), recipe, teacher, tuple(texts))


def check_teachers(backbones: Mapping[str, BackboneEntry]) -> None:
    """Each teacher is another backbone of the config, made before its student, and as wide where that is known."""
    for i, (name, backbone) in enumerate(backbones.items()):
        where = f"backbones[{i}] '{name}'.pretrain.teacher"
        chain = [name]
        while (teacher := teacher_of(backbones[chain[-1]])) is not None:
            if teacher not in backbones:
                raise unknown("backbone", teacher, backbones, where)
            chain.append(teacher)
            if teacher in chain[:-1]:
                raise ZsrError(f"{where}: learns from itself ({' <- '.join(chain)}); name a backbone made before it")
        if len(chain) > 1:
            own, other = width(backbone), width(backbones[chain[1]])
            if other is not None and own != other:
                raise ZsrError(
                    f"{where}: '{chain[1]}' has features of {other} dimensions, '{backbone.origin}' of {own}; take "
                    "an `arch` with that embed_dim, or another teacher"
                )


def teacher_of(backbone: BackboneEntry) -> str | None:
    """The backbone that another one learns from."""
    return backbone.weights_from.teacher if isinstance(backbone.weights_from, Pretraining) else None


def width(backbone: BackboneEntry) -> int | None:
    """D of a backbone's features; None where only its files say it."""
    definition = backbone.definition or {}
    found: int | None = definition.get("model", definition).get("embed_dim")
    return found


def texts_of(pretraining: Pretraining, datasets: Datasets) -> dict[str, object]:
    """What a pretraining's spec says of texts: the set's classes if it has no captions, and prompts beyond it."""
    definition = datasets[pretraining.source_set.dataset]
    found: dict[str, object] = {} if has_captions(definition) else {**prompts_of(definition)}
    if pretraining.teacher is not None:
        found["texts"] = [prompts_of(datasets[name]) for name in pretraining.texts]
    return found

"""Pretraining as the config means it: a dataset, a recipe, and perhaps a teacher with texts beyond the dataset.

A teacher is another backbone of the config, made in any way. Nothing here imports torch: how wide a dual encoder or a
hub model is, only the job learns.
"""

from zsr import registry
from zsr.config.datasets import has_captions, need_split, need_words
from zsr.config.settings import check_recipe
from zsr.errors import ZsrError, unknown
from zsr.registry import PACKAGE

RECIPES = {False: ("pretrain.py", "PretrainRecipe"), True: ("distillation.py", "DistilRecipe")}


def complete_pretraining(config: dict, backbone: dict, where: str) -> None:
    """Fill in the recipe of one entry; the teacher is looked at when all entries are complete."""
    recipe = dict(backbone["pretrain"])
    dataset, split = recipe.pop("dataset"), recipe.pop("split")
    teacher, texts = recipe.pop("teacher", None), recipe.pop("texts", [])
    need_split(config, dataset, split, f"{where}.pretrain.split")
    need_words(config["datasets"][dataset], dataset, f"{where}.pretrain")
    if texts and teacher is None:
        raise ZsrError(f"{where}.pretrain: `texts` are for a teacher to say where they belong; name a `teacher`")
    for name in texts:
        if not config["datasets"][name]["classes"]:
            raise ZsrError(f"{where}.pretrain.texts: '{name}' has no classes and so no prompts; take it out")
    file, kind = RECIPES[teacher is not None]
    recipe = check_recipe(registry.fields_of(PACKAGE / "training" / file, kind), recipe, f"{where}.pretrain")
    backbone["pretrain"] = {"dataset": dataset, "split": split, "recipe": recipe}
    if teacher is not None:
        backbone["pretrain"] |= {"teacher": teacher, "texts": texts}


def check_teachers(backbones: list[dict]) -> None:
    """Each teacher is another backbone of the config, made before its student, and as wide where that is known."""
    known = {backbone["name"]: backbone for backbone in backbones}
    for i, backbone in enumerate(backbones):
        where = f"backbones[{i}] '{backbone['name']}'.pretrain.teacher"
        chain = [backbone["name"]]
        while (teacher := known[chain[-1]].get("pretrain", {}).get("teacher")) is not None:
            if teacher not in known:
                raise unknown("backbone", teacher, known, where)
            chain.append(teacher)
            if teacher in chain[:-1]:
                raise ZsrError(f"{where}: learns from itself ({' <- '.join(chain)}); name a backbone made before it")
        if len(chain) > 1:
            own, other = width(backbone), width(known[chain[1]])
            if other is not None and own != other:
                raise ZsrError(
                    f"{where}: '{chain[1]}' has features of {other} dimensions, '{backbone['arch']}' of {own}; take "
                    "an `arch` with that embed_dim, or another teacher"
                )


def width(backbone: dict) -> int | None:
    """D of a backbone's features; None where only its files say it."""
    definition = backbone["definition"] or {}
    return definition.get("model", definition).get("embed_dim")


def words_of(config: dict, pretrain: dict) -> dict:
    """What a pretraining's spec says of texts: the source's classes if it has no captions, and prompts beyond it."""
    about = config["datasets"][pretrain["dataset"]]
    found = {} if has_captions(about) else {key: about[key] for key in ("classes", "templates")}
    if "teacher" in pretrain:
        sets = [config["datasets"][name] for name in pretrain["texts"]]
        found["texts"] = [{key: each[key] for key in ("classes", "templates")} for each in sets]
    return found

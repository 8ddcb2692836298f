"""Backbones of the kind `dual` as the config means them: a tower of timm, sentence vectors, a projection.

Each of the three parts comes from somewhere: a file (named by its sha256), a repository of the hub, or, for the
projection, a training of this config. Nothing here imports torch: how large the parts are, only the job learns.
"""

from zsr.config.datasets import need_split, need_words, transform_of
from zsr.config.entries import (
    BackboneEntry,
    Datasets,
    Definition,
    DualParts,
    HubWeights,
    LocalWeights,
    Projection,
    SourceSet,
    WeightSource,
    Written,
)
from zsr.config.settings import recipe_of
from zsr.config.weight_sources import hub_weights, local_weights
from zsr.env_paths import is_repository
from zsr.errors import ZsrError


def complete_dual(name: str, dual: Written, datasets: Datasets, where: str) -> BackboneEntry:
    """What is known of the definition, and where the parts come from."""
    image, text, projection = dual["image"], dual["text"], dual["projection"]
    form = _one(text, ("sentence", "vectors"), f"{where}.text")
    weights_from = {"image": _image(image, f"{where}.image"), "text": _text(text, form, f"{where}.text")}
    learned = None
    if _one(projection, ("weights", "learn"), f"{where}.projection") == "weights":
        weights_from["projection"] = _file(projection, "weights", f"{where}.projection")
    else:
        if "sha256" in projection:
            raise ZsrError(f"{where}.projection: it is learned; take out 'sha256'")
        learned = _learn(projection["learn"], datasets, f"{where}.projection.learn")
    return BackboneEntry(name, "dual", _definition(image, form), image["timm"], DualParts(weights_from, learned))


def _definition(image: Written, form: str) -> Definition:
    vision = {"timm_model_name": image["timm"], "image_size": image["size"], "settings": image.get("settings", {})}
    return {
        "kind": "dual",
        "vision_cfg": vision,
        "text_cfg": {"form": form},
        "tokenizer": {"kind": form},
        "mean": image["mean"],
        "std": image["std"],
        "interpolation": image.get("interpolation", "bicubic"),
    }


def _one(given: Written, keys: tuple[str, str], where: str) -> str:
    if sum(key in given for key in keys) != 1:
        raise ZsrError(f"{where}: name either `{keys[0]}` or `{keys[1]}`")
    return next(key for key in keys if key in given)


def _image(image: Written, where: str) -> WeightSource:
    if _one(image, ("weights", "hub"), where) == "weights":
        return _file(image, "weights", where)
    return _hub(image, "hub", where)


def _text(text: Written, form: str, where: str) -> WeightSource:
    if form == "vectors":
        return _file(text, form, where)
    given = text[form]
    if "sha256" in text or "$" in given or given.startswith((".", "/", "~")):
        folder = _file(text, form, where, folder=True)
        return LocalWeights(folder.sha256, f"{folder.path}/config.json")
    if not is_repository(given):
        raise ZsrError(f"{where}: '{given}' is neither a folder (begin it with ./) nor a repository org/model")
    return _hub(text, form, where)


def _hub(given: Written, key: str, where: str) -> HubWeights:
    found = hub_weights(given[key], f"{where}.{key}", "org/model", revision=given.get("revision", ""))
    if "sha256" in given:
        raise ZsrError(
            f"{where}: '{given[key]}' lies on the hub, which names contents by `revision`; take out 'sha256'"
        )
    return found


def _file(given: Written, key: str, where: str, folder: bool = False) -> LocalWeights:
    if given.get("revision"):
        raise ZsrError(f"{where}: 'revision' is for repositories of the hub; a file is named by its sha256")
    return local_weights(given[key], given.get("sha256", ""), where, folder=folder)


def _learn(given: Written, datasets: Datasets, where: str) -> Projection:
    """The training of the projection, on images and their captions or class prompts."""
    written = dict(given)
    name, split, transform = written.pop("dataset"), written.pop("split"), written.pop("transform")
    definition = datasets[name]
    count = need_split(definition, split, f"{where}.split")
    recipe = recipe_of("projection.py", "JoinRecipe", written, where)
    need_words(definition, where)
    if recipe["batch"] > count - count // 10:
        raise ZsrError(f"{where}.batch: {recipe['batch']} is more than nine tenths of the {count} images; make it less")
    transform = transform_of(definition, transform, f"{where}.transform ('{name}')")
    return Projection(SourceSet(name, split, transform), recipe)

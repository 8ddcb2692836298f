"""Backbones of the kind `dual` as the config means them: a tower of timm, sentence vectors, a projection.

Each of the three parts comes from somewhere: a file (named by its sha256), a repository of the hub, or, for the
projection, a training of this config. Nothing here imports torch: how large the parts are, only the job learns.
"""

from zsr import registry
from zsr.config.datasets import need_split, need_words
from zsr.config.settings import check_recipe
from zsr.env_paths import is_repository, path_of
from zsr.errors import ZsrError
from zsr.hashing import encoder_digest, file_digest
from zsr.registry import PACKAGE

HEX = 64
INTERPOLATIONS = ("bicubic", "bilinear")


def complete_dual(config: dict, backbone: dict, where: str) -> None:
    """Fill in kind, what is known of the definition, and where the parts come from."""
    dual = backbone["dual"]
    image, text, projection = dual["image"], dual["text"], dual["projection"]
    form = _one(text, ("sentence", "vectors"), f"{where}.dual.text")
    backbone["kind"] = "dual"
    backbone["definition"] = {
        "kind": "dual",
        "vision_cfg": {
            "timm_model_name": image["timm"],
            "image_size": image["size"],
            "settings": image.get("settings", {}),
        },
        "text_cfg": {"form": form},
        "tokenizer": {"kind": form},
        "mean": image["mean"],
        "std": image["std"],
        "interpolation": image.get("interpolation", INTERPOLATIONS[0]),
    }
    parts = {"image": _image(image, f"{where}.dual.image"), "text": _text(text, form, f"{where}.dual.text")}
    if _one(projection, ("weights", "learn"), f"{where}.dual.projection") == "weights":
        parts["projection"] = _file(projection["weights"], projection.get("sha256"), f"{where}.dual.projection")
    else:
        if "sha256" in projection:
            raise ZsrError(f"{where}.dual.projection: it is learned; take out 'sha256'")
        dual["learn"] = _learn(config, projection["learn"], f"{where}.dual.projection.learn")
    backbone["parts"] = {role: source for role, (source, _) in parts.items()}
    backbone["files"] = {role: path for role, (_, path) in parts.items() if path}


def _one(given: dict, keys: tuple[str, str], where: str) -> str:
    if sum(key in given for key in keys) != 1:
        raise ZsrError(f"{where}: name either `{keys[0]}` or `{keys[1]}`")
    return next(key for key in keys if key in given)


def _image(image: dict, where: str) -> tuple[dict, str]:
    if _one(image, ("weights", "hub"), where) == "weights":
        return _file(image["weights"], image.get("sha256"), where, image.get("revision"))
    if not is_repository(image["hub"]):
        raise ZsrError(f"{where}.hub: '{image['hub']}' is not a repository of the hub; write org/model")
    return _hub(image["hub"], image, where), ""


def _text(text: dict, form: str, where: str) -> tuple[dict, str]:
    given = text[form]
    local = "sha256" in text or "$" in given or given.startswith((".", "/", "~"))
    if form == "sentence" and not local:
        if not is_repository(given):
            raise ZsrError(f"{where}: '{given}' is neither a folder (begin it with ./) nor a repository org/model")
        return _hub(given, text, where), ""
    source, path = _file(given, text.get("sha256"), where, text.get("revision"), folder=form == "sentence")
    return source, f"{path}/config.json" if form == "sentence" else path


def _hub(name: str, given: dict, where: str) -> dict:
    if "sha256" in given:
        raise ZsrError(f"{where}: '{name}' lies on the hub, which names contents by `revision`; take out 'sha256'")
    return {"hub": name, **({"revision": given["revision"]} if "revision" in given else {})}


def _file(
    given: str, wanted: str | None, where: str, revision: str | None = None, folder: bool = False
) -> tuple[dict, str]:
    """(the source, the path as it was written) of a local file or folder, named by its content."""
    if revision:
        raise ZsrError(f"{where}: 'revision' is for repositories of the hub; a file is named by its sha256")
    if not wanted:
        path = path_of(given, where)
        if not (path.is_dir() if folder else path.is_file()):
            raise ZsrError(f"{where}: {path}: no such {'folder' if folder else 'file'}")
        found = encoder_digest(path) if folder else file_digest(path)
        raise ZsrError(f"{where}: say which content {path.name} must have; it has sha256: {found}")
    if len(wanted) != HEX or set(wanted) - set("0123456789abcdef"):
        raise ZsrError(f"{where}.sha256: {wanted!r} is not a sha256, 64 hex digits")
    return {"sha256": wanted}, given


def _learn(config: dict, given: dict, where: str) -> dict:
    recipe = dict(given)
    dataset, split = recipe.pop("dataset"), recipe.pop("split")
    transform = recipe.pop("transform")
    count = need_split(config, dataset, split, f"{where}.split")
    recipe = check_recipe(registry.fields_of(PACKAGE / "training" / "projection.py", "JoinRecipe"), recipe, where)
    about = config["datasets"][dataset]
    need_words(about, dataset, where)
    if recipe["batch"] > count - count // 10:
        raise ZsrError(f"{where}.batch: {recipe['batch']} is more than nine tenths of the {count} images; make it less")
    return {"dataset": dataset, "split": split, "transform": transform, "recipe": recipe}

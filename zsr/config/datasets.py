"""Datasets as the config means them: the files of zsr/data/sets/, with the config's own entries over them."""

import copy

from zsr import registry
from zsr.config.settings import settings_of
from zsr.data.set_files import SETS, set_file, table
from zsr.data.transforms import parse, pixels
from zsr.errors import ZsrError, short, unknown

VARIED, LARGEST = "varied", 4096  # of `size`
OF_FILES = ("set", "folder", "files", "options", "splits", "encoded", "missing", "transforms", "size")


def known_datasets() -> list[str]:
    """The datasets that come with zsr."""
    return sorted(path.stem for path in SETS.glob("*.yaml"))


def datasets_used(config: dict) -> dict[str, str]:
    """dataset -> the first place of the config that names it."""
    used: dict[str, str] = {}
    for i, backbone in enumerate(config["backbones"]):
        if "pretrain" in backbone:
            used.setdefault(backbone["pretrain"]["dataset"], f"backbones[{i}].pretrain.dataset")
            for j, name in enumerate(backbone["pretrain"].get("texts", [])):
                used.setdefault(name, f"backbones[{i}].pretrain.texts[{j}]")
        learn = backbone.get("dual", {}).get("projection", {}).get("learn")
        if learn:
            used.setdefault(learn["dataset"], f"backbones[{i}].dual.projection.learn.dataset")
    used.setdefault(config["finetune"]["dataset"], "finetune.dataset")
    for i, model in enumerate(config["models"]):
        if "dataset" in model["recipe"]:
            used.setdefault(model["recipe"]["dataset"], f"models[{i}].recipe.dataset")
    for i, protocol in enumerate(config["protocols"]):
        for j, name in enumerate(protocol["datasets"]):
            used.setdefault(name, f"protocols[{i}].datasets[{j}]")
    return used


def definition(config: dict, name: str, where: str) -> dict:
    """The complete definition of a dataset: the config's entry over the file's."""
    own = {entry["name"]: entry for entry in config["data"]}
    if name in own:
        entry = {key: value for key, value in own[name].items() if key not in ("name", "like")}
        base = own[name].get("like", name if name in known_datasets() else None)
        if base is not None and base not in known_datasets():
            raise unknown("dataset", base, known_datasets(), f"data '{name}'.like")
        found = _merge(_base(base, entry), _with_keys(set_file(base), entry, f"data '{name}'")) if base else entry
    elif name in known_datasets():
        found = copy.deepcopy(set_file(name))
    else:
        raise unknown("dataset", name, set(own) | set(known_datasets()), where)
    if "files" in own.get(name, {}):
        found.pop("set", None)  # its links and advice are of other files
    _check_size(found.get("size"), f"data '{name}'.size")
    for key in ("reader", "splits"):
        if key not in found:
            raise ZsrError(f"data '{name}': the key '{key}' is missing; a dataset needs a reader and its splits' sizes")
    found["options"] = settings_of(
        "data/readers", found["reader"], found.get("options", {}), f"dataset '{name}'.options"
    )
    found.setdefault("folder", name)
    found.setdefault("files", [])
    _name_classes(found, f"dataset '{name}'")
    classes = found["classes"]
    if len(set(classes)) != len(classes):
        twice = next(c for c in classes if classes.count(c) > 1)
        raise ZsrError(f"dataset '{name}': the class name '{twice}' stands twice; a prompt must mean one class")
    _choose_templates(found, f"dataset '{name}'")
    for paper, transform in found.get("transforms", {}).items():
        parse(transform, f"data '{name}'.transforms.{short(paper)}")
    if strange := [split for split in found.get("encoded", ()) if split not in found["splits"]]:
        raise unknown("split", strange[0], found["splits"], f"dataset '{name}'.encoded")
    found["uncounted"] = _uncounted(found, own.get(name, {}))
    found.setdefault("labelled", bool(classes))
    for key in ("source", "licence", "about"):
        found.setdefault(key, "")
    return found


def _check_size(size: int | str | None, where: str) -> None:
    """The side of a set's images; what zsr has no number for, `varied`."""
    if not (size in (None, VARIED) or (isinstance(size, int) and 1 <= size <= LARGEST)):
        raise ZsrError(f"{where}: '{short(size)}' is neither '{VARIED}' nor a number of pixels from 1 to {LARGEST}")


def _base(name: str, over: dict) -> dict:
    """A set's file; under another reader only what it says of classes and prompts, for its files are others."""
    found = set_file(name)
    if over.get("reader", found["reader"]) == found["reader"]:
        return found
    return {key: value for key, value in found.items() if key not in OF_FILES}


def _with_keys(base: dict, entry: dict, where: str) -> dict:
    """An entry that names each class of the set's table otherwise: what the same source calls them stays."""
    file, names = base.get("classes"), entry.get("classes")
    same = entry.get("reader", base["reader"]) == base["reader"]
    if same and isinstance(file, str) and isinstance(names, list):
        keys = _keys(_table(file, where))
        if len(keys) == len(names):
            return {"keys": keys, **entry}
    return entry


def _keys(columns: dict[str, list[str]]) -> list[str]:
    """What the source calls its classes; nothing where it only numbers them."""
    return [] if set(columns["key"]) == {"-"} else columns["key"]


def _name_classes(found: dict, where: str) -> None:
    """Class names and, where the source calls its classes something else, their `keys`: lists, or columns of a file."""
    classes = found.setdefault("classes", [])
    found.setdefault("keys", [])
    if isinstance(classes, str):
        columns = _table(classes, where)
        column = found.get("names", next(iter(columns.keys() - {"key"})) if len(columns) == 2 else "")
        if column not in columns or column == "key":
            raise unknown("value", column, columns.keys() - {"key"}, f"{where}.names")
        found["classes"] = columns[column]
        found["keys"] = _keys(columns)
    if found["keys"] and len(found["keys"]) != len(found["classes"]):
        raise ZsrError(f"{where}: {len(found['keys'])} keys and {len(found['classes'])} classes; give one key a class")
    half = found.setdefault("half", "all")
    if half not in ("all", "base", "new"):
        raise unknown("value", half, ("all", "base", "new"), f"{where}.half")
    found["of"] = len(found["classes"])  # how many classes the source has
    if half != "all":  # CoOp's base-to-new: the first half of the classes, rounded up, and the rest
        middle = (found["of"] + 1) // 2
        found["classes"] = found["classes"][:middle] if half == "base" else found["classes"][middle:]


def _uncounted(found: dict, entry: dict) -> list[str]:
    """The splits of a half whose number of images only the source knows: the file's `splits` are of all classes."""
    return [] if found["half"] == "all" else sorted(found["splits"].keys() - entry.get("splits", {}).keys())


def _table(name: str, where: str) -> dict[str, list[str]]:
    """column -> values of a file of class names."""
    if not (SETS / name).is_file():
        raise ZsrError(f"{where}: no file {SETS / name} of class names; write `classes` as a list")
    return table(name)


def _choose_templates(found: dict, where: str) -> None:
    """`templates` is a list, or the name of one of the dataset's `prompts`."""
    templates = found.setdefault("templates", ["a photo of a {}"])
    if isinstance(templates, str):
        prompts = found.get("prompts", {})
        if templates not in prompts:
            raise unknown("prompts", templates, prompts, f"{where}.templates")
        templates = prompts[templates]
        if isinstance(templates, str):
            templates = (SETS / templates).read_text(encoding="utf-8").splitlines()
        found["templates"] = list(templates)


def _merge(base: dict, over: dict) -> dict:
    merged = copy.deepcopy(base)
    for key, value in over.items():
        merged[key] = {**merged[key], **value} if isinstance(merged.get(key), dict) else value
    return merged


def need_split(config: dict, dataset: str, split: str, where: str) -> int:
    splits = config["datasets"][dataset]["splits"]
    if split not in splits:
        raise unknown("split", split, splits, f"{where} of '{dataset}'")
    return splits[split]


def has_captions(about: dict) -> bool:
    """Whether a set's reader gives captions."""
    return bool(about["options"].get("caption") or about["options"].get("captions"))


def need_words(about: dict, dataset: str, where: str) -> None:
    """Pairs of images and texts need captions, or labels whose classes have names."""
    if not has_captions(about) and not (about["classes"] and about["labelled"]):
        raise ZsrError(f"{where}: '{dataset}' has neither captions nor labels with class names; nothing to learn from")


def source_of(definition: dict, split: str, transform: str, limit: float) -> dict:
    """What the spec of a preparation holds beside the reader's options, where the images lie in files.

    Links are left out: another mirror gives the same bytes.
    """
    if not registry.describe("data/readers", definition["reader"]).constants.get("from_files"):
        return {}
    kept = ("path", "md5", "sha256", "bytes", "unpacked", *(() if "set" in definition else ("urls",)))
    files = [entry for entry in definition["files"] if split in entry.get("splits", [split])]
    classes, half = definition["of"], definition["half"]
    middle = (classes + 1) // 2
    source = {
        "folder": definition["folder"],
        "set": definition.get("set"),
        "files": [{key: entry[key] for key in kept if key in entry} for entry in files],
        "keys": definition["keys"],
        "classes": classes,
        "missing": "" if "set" in definition else definition.get("missing", ""),
        "half": {"all": None, "base": [0, middle], "new": [middle, classes]}[half],
    }
    size = pixels(transform, definition)
    large = size is not None and size * definition["splits"][split] > limit * 1e9
    known = {"source": source, "encoded": split in definition.get("encoded", ()) or large}
    return {**known, "count": None} if split in definition["uncounted"] else known

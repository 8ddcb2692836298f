"""Datasets as the config means them: the files of zsr/data/sets/, with the config's own entries over them."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from zsr import registry
from zsr.config.entries import DatasetDefinition, DatasetFile, Written
from zsr.config.settings import settings_of
from zsr.data import transforms
from zsr.data.set_files import SETS, set_file, table
from zsr.errors import ZsrError, short, unknown

VARIED, LARGEST = "varied", 4096  # of `size`
OF_FILES = ("set", "folder", "files", "options", "splits", "encoded", "missing", "transforms", "size")


@cache
def known_datasets() -> tuple[str, ...]:
    """The datasets that come with zsr."""
    return tuple(sorted(path.stem for path in SETS.glob("*.yaml")))


def datasets_used(written: Written) -> dict[str, str]:
    """dataset -> the first place of the config that names it."""
    used: dict[str, str] = {}
    for i, backbone in enumerate(written["backbones"]):
        if "pretrain" in backbone:
            used.setdefault(backbone["pretrain"]["dataset"], f"backbones[{i}].pretrain.dataset")
            for j, name in enumerate(backbone["pretrain"].get("texts", [])):
                used.setdefault(name, f"backbones[{i}].pretrain.texts[{j}]")
        learn = backbone.get("dual", {}).get("projection", {}).get("learn")
        if learn:
            used.setdefault(learn["dataset"], f"backbones[{i}].dual.projection.learn.dataset")
    used.setdefault(written["finetune"]["dataset"], "finetune.dataset")
    for i, model in enumerate(written["models"]):
        if "dataset" in model["recipe"]:
            used.setdefault(model["recipe"]["dataset"], f"models[{i}].recipe.dataset")
    for i, protocol in enumerate(written["protocols"]):
        for j, name in enumerate(protocol["datasets"]):
            used.setdefault(name, f"protocols[{i}].datasets[{j}]")
    return used


def definition(data: Sequence[Written], name: str, where: str) -> DatasetDefinition:
    """The complete definition of a dataset: the entry that `data` has for it over its file."""
    own = {entry["name"]: entry for entry in data}
    written = _written(own, name, where)
    _check_size(written.get("size"), f"data '{name}'.size")
    for key in ("reader", "splits"):
        if key not in written:
            raise ZsrError(f"data '{name}': the key '{key}' is missing; a dataset needs a reader and its splits' sizes")
    where = f"dataset '{name}'"
    options = settings_of("data/readers", written["reader"], written.get("options", {}), f"{where}.options")
    classes, keys, all_classes = _classes(written, where)
    if len(set(classes)) != len(classes):
        twice = next(c for c in classes if classes.count(c) > 1)
        raise ZsrError(f"{where}: the class name '{twice}' stands twice; a prompt must mean one class")
    templates = _templates(written, where)
    for paper, transform in written.get("transforms", {}).items():
        transforms.parse(transform, f"data '{name}'.transforms.{short(paper)}")
    splits, encoded = written["splits"], written.get("encoded", ())
    if strange := [split for split in encoded if split not in splits]:
        raise unknown("split", strange[0], splits, f"{where}.encoded")
    half = written.get("half", "all")
    uncounted = () if half == "all" else sorted(splits.keys() - own.get(name, {}).get("splits", {}).keys())
    return DatasetDefinition(
        name=name,
        reader=written["reader"],
        options=options,
        splits=splits,
        uncounted=tuple(uncounted),
        size=written.get("size"),
        classes=tuple(classes),
        keys=tuple(keys),
        all_classes=all_classes,
        half=half,
        templates=tuple(templates),
        transforms=written.get("transforms", {}),
        encoded=tuple(encoded),
        folder=written.get("folder", name),
        files=tuple(DatasetFile(**file) for file in written.get("files", [])),
        set_file=written.get("set"),
        missing=written.get("missing", ""),
        labelled=written.get("labelled", bool(classes)),
        about=written.get("about", ""),
        citation=written.get("source", ""),
        licence=written.get("licence", ""),
        written=written,
    )


def _written(own: Mapping[str, Written], name: str, where: str) -> dict[str, Any]:
    """What the config and the set's file write of a dataset; the config's keys stand over the file's."""
    if name not in own:
        if name not in known_datasets():
            raise unknown("dataset", name, set(own) | set(known_datasets()), where)
        return set_file(name)
    entry = {key: value for key, value in own[name].items() if key not in ("name", "like")}
    base = own[name].get("like", name if name in known_datasets() else None)
    if base is None:
        return entry
    if base not in known_datasets():
        raise unknown("dataset", base, known_datasets(), f"data '{name}'.like")
    file = set_file(base)
    if entry.get("reader", file["reader"]) != file["reader"]:  # its files are others: only classes and prompts stay
        return _merge({key: value for key, value in file.items() if key not in OF_FILES}, entry)
    merged = _merge(file, _with_keys(file, entry, f"data '{name}'"))
    if "files" in entry:
        merged.pop("set", None)  # its links and advice are of other files
    return merged


def _check_size(size: int | str | None, where: str) -> None:
    """The side of a set's images; what zsr has no number for, `varied`."""
    if not (size in (None, VARIED) or (isinstance(size, int) and 1 <= size <= LARGEST)):
        raise ZsrError(f"{where}: '{short(size)}' is neither '{VARIED}' nor a number of pixels from 1 to {LARGEST}")


def _with_keys(base: Written, entry: Written, where: str) -> Written:
    """An entry that names each class of the set's table otherwise: what the same source calls them stays."""
    file, names = base.get("classes"), entry.get("classes")
    if isinstance(file, str) and isinstance(names, list):
        keys = _keys(_table(file, where))
        if len(keys) == len(names):
            return {"keys": keys, **entry}
    return entry


def _keys(columns: dict[str, list[str]]) -> list[str]:
    """What the source calls its classes; nothing where it only numbers them."""
    return [] if set(columns["key"]) == {"-"} else columns["key"]


def _classes(written: Written, where: str) -> tuple[list[str], list[str], int]:
    """(class names; what the source calls each of all its classes, or nothing; how many classes the source has).

    Names and keys are lists, or columns of a file.
    """
    classes, keys = written.get("classes", []), written.get("keys", [])
    if isinstance(classes, str):
        columns = _table(classes, where)
        column = written.get("names", next(iter(columns.keys() - {"key"})) if len(columns) == 2 else "")
        if column not in columns or column == "key":
            raise unknown("value", column, columns.keys() - {"key"}, f"{where}.names")
        classes, keys = columns[column], _keys(columns)
    if keys and len(keys) != len(classes):
        raise ZsrError(f"{where}: {len(keys)} keys and {len(classes)} classes; give one key a class")
    first, end = _half(written.get("half", "all"), len(classes))
    return classes[first:end], keys, len(classes)


def _half(half: str, classes: int) -> tuple[int, int]:
    """CoOp's base-to-new: the first half of the classes, rounded up, or the rest; (first, end)."""
    middle = (classes + 1) // 2
    return {"all": (0, classes), "base": (0, middle), "new": (middle, classes)}[half]


def _table(name: str, where: str) -> dict[str, list[str]]:
    """column -> values of a file of class names."""
    if not (SETS / name).is_file():
        raise ZsrError(f"{where}: no file {SETS / name} of class names; write `classes` as a list")
    return table(name)


def _templates(written: Written, where: str) -> list[str]:
    """`templates` is a list, or the name of one of the dataset's `prompts`."""
    templates = written.get("templates", ["a photo of a {}"])
    if isinstance(templates, str):
        prompts = written.get("prompts", {})
        if templates not in prompts:
            raise unknown("prompts", templates, prompts, f"{where}.templates")
        templates = prompts[templates]
        if isinstance(templates, str):
            templates = (SETS / templates).read_text(encoding="utf-8").splitlines()
    return list(templates)


def _merge(base: Written, over: Written) -> dict[str, Any]:
    return {**base, **{key: _over(base.get(key), value) for key, value in over.items()}}


def _over(base: object, value: Any) -> Any:
    """A value over another; of two mappings, key by key."""
    return {**base, **value} if isinstance(base, dict) else value


# -- what others ask of a definition ---------------------------------------------------------------------------------


def need_split(definition: DatasetDefinition, split: str, where: str) -> int:
    """The number of images of a split."""
    if split not in definition.splits:
        raise unknown("split", split, definition.splits, f"{where} of '{definition.name}'")
    return definition.splits[split]


def transform_of(definition: DatasetDefinition, name: str, where: str) -> str:
    """What the name of a transform, or of a paper, means for a dataset."""
    return transforms.choose(name, definition.transforms, definition.size, where)


def has_captions(definition: DatasetDefinition) -> bool:
    """Whether a set's reader gives captions."""
    return bool(definition.options.get("caption") or definition.options.get("captions"))


def need_words(definition: DatasetDefinition, where: str) -> None:
    """Pairs of images and texts need captions, or labels whose classes have names."""
    if not has_captions(definition) and not (definition.classes and definition.labelled):
        raise ZsrError(
            f"{where}: '{definition.name}' has neither captions nor labels with class names; nothing to learn from"
        )


def prompts_of(definition: DatasetDefinition) -> dict[str, object]:
    """What a spec says of a dataset's classes."""
    return {"classes": definition.classes, "templates": definition.templates}


def source_of(definition: DatasetDefinition, split: str, transform: str, limit: float) -> dict[str, object]:
    """What the spec of a preparation holds beside the reader's options, where the images lie in files.

    Links are left out where the set's file has them: another mirror gives the same bytes.
    """
    if not registry.describe("data/readers", definition.reader).constants.get("from_files"):
        return {}
    of_set = definition.set_file is not None
    kept = ("path", "md5", "sha256", "bytes", "unpacked", *(() if of_set else ("urls",)))
    files = [file for file in definition.files if file.splits is None or split in file.splits]
    classes = definition.all_classes
    source = {
        "folder": definition.folder,
        "set": definition.set_file,
        "files": [{key: value for key in kept if (value := getattr(file, key)) is not None} for file in files],
        "keys": list(definition.keys),
        "classes": classes,
        "missing": "" if of_set else definition.missing,
        "half": None if definition.half == "all" else list(_half(definition.half, classes)),
    }
    size = transforms.pixels(transform, definition.size)
    large = size is not None and size * definition.splits[split] > limit * 1e9
    known = {"source": source, "encoded": split in definition.encoded or large}
    return {**known, "count": None} if split in definition.uncounted else known


def facts_of(definition: DatasetDefinition) -> dict[str, object]:
    """All that is known of a dataset, as the spec of the tables counts it."""
    return {
        **definition.written,
        "options": definition.options,
        "folder": definition.folder,
        "files": definition.written.get("files", []),
        "classes": definition.classes,
        "keys": definition.keys,
        "half": definition.half,
        "of": definition.all_classes,
        "templates": definition.templates,
        "uncounted": definition.uncounted,
        "labelled": definition.labelled,
        "about": definition.about,
        "source": definition.citation,
        "licence": definition.licence,
    }

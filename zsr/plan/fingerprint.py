"""The fingerprint of the code that a job runs, so that a result is remade exactly when its code has changed.

Snakemake tracks neither imported modules nor the text of scripts (a touch reruns everything, an edited import reruns
nothing). Here the imports are walked from the job's entry points by `ast`, inside the checkout only, and each file is
hashed as its syntax tree without docstrings: comments and formatting do not count, nor does Python's version.
Components are loaded by name (`zsr.registry`), so a job's roots name the one method, attack or reader that it uses and
no other is followed. What is followed:

- imports, with the packages that they run; stars through `__all__`; `import_module` and `registry.load` with literals;
- files that are not Python, where a module names them in a literal: beside it, below it (`HERE / "tables" / "a.csv"`),
  in resources/, or by their path from zsr/ (`PACKAGE / "models" / "a.yaml"`) or from the checkout;
- what a module declares in `reads = ("tables/*.csv", …)`, for names that no literal spells.

What cannot be followed (an f-string, a search of a folder, a name from a setting) the job itself notices: zsr/guard/.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from zsr.errors import ZsrError
from zsr.hashing import canonical, short_hash
from zsr.plan.python_source import Mentions, mentions, shape
from zsr.registry import ROOT, filename

RESOURCES = "resources"  # numbers of others that tables and report stand beside ours
PACKAGES = ("zsr", "zsr_kernels", "workflow", RESOURCES)  # whose files may be named by their path from the checkout
TEXTS = (".csv", ".tsv", ".txt", ".json", ".html", ".css", ".js")  # their line ends mean nothing


@dataclass(frozen=True)
class Fingerprint:
    """One digest for the whole closure, and one per file, so that `zsr why` can name the file that changed."""

    digest: str
    files: dict[str, str]
    docs: bool  # whether docstrings count, since some module of the closure reads them

    def has(self, name: str, content: bytes) -> bool:
        """Whether a file with this content is what was hashed."""
        return hash_content(Path(name).suffix, content, self.docs) == self.files[name]


def fingerprint(roots: Iterable[str], root: Path = ROOT, without: Iterable[str] = ()) -> Fingerprint:
    """Hash everything that the entry points `roots` (paths relative to the checkout) can reach.

    Files below the folders `without` are left out: the job never imports them, and is held to that (zsr/guard/).
    """
    return _fingerprint(tuple(sorted(roots)), root, tuple(without))


@cache
def _fingerprint(roots: tuple[str, ...], root: Path, without: tuple[str, ...]) -> Fingerprint:
    closure = _closure(roots, root)
    paths = {str(path.relative_to(root)): path for path in sorted(closure)}
    paths = {name: path for name, path in paths.items() if not name.startswith(tuple(f"{w}/" for w in without))}
    docs = any(path.suffix == ".py" and _source(path).reads_docs for path in paths.values())
    files = {name: hash_file(path, docs) for name, path in paths.items()}
    return Fingerprint(short_hash(canonical(files)), files, docs)


def forget() -> None:
    """Drop what was read, so that the next `fingerprint` sees the files as they are now. What a content hashes to
    holds forever."""
    for cached in (_fingerprint, _closure, _read, _names):
        cached.cache_clear()


@cache
def _closure(roots: tuple[str, ...], root: Path) -> frozenset[Path]:
    """All files that the roots can reach."""
    waiting = [root / path for path in roots]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        if not path.is_file():
            raise ZsrError(f"{path}: no such file, but a job starts from it")
        seen.add(path)
        if path.suffix == ".py":
            waiting += _packages(path, root)
            waiting += _reached(path, root)
    return frozenset(seen)


def hash_file(path: Path, docs: bool = False) -> str:
    """The hash of a file as it lies there; `docs`: docstrings count."""
    return hash_content(path.suffix, _read(path), docs)


@cache
def hash_content(suffix: str, content: bytes, docs: bool = False) -> str:
    """Python by its syntax tree, YAML by its content, other text up to its line ends, anything else by its bytes."""
    if suffix == ".py":
        return short_hash(repr(shape(ast.parse(content)))) if docs else mentions(content).digest
    if suffix == ".yaml":
        return short_hash(repr(yaml.safe_load(content)))  # code may depend on the order of keys
    if suffix in TEXTS:
        content = content.replace(b"\r\n", b"\n").removeprefix(b"\xef\xbb\xbf")
    return hashlib.sha256(content).hexdigest()[:20]


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def _source(path: Path) -> Mentions:
    try:
        return mentions(_read(path))
    except SyntaxError as error:
        raise ZsrError(f"{path}:{error.lineno}: {error.msg}") from error


# -- what these mentions are on disk ---------------------------------------------------------------------------------


def _reached(path: Path, root: Path) -> list[Path]:
    """The files of the checkout that a module imports, loads, names or declares."""
    source = _source(path)
    found: list[Path] = []
    for level, name, names in source.imports:
        module = _absolute(level, name, path, root)
        found += _module_files(module, root)
        for alias in names if "*" not in names else _exports(module, root):
            found += _module_files(f"{module}.{alias}", root)
    for kind, name in source.components:
        component = root / "zsr" / kind / f"{filename(name)}.py"
        found += [component] if component.is_file() else []
    for text in source.texts:
        found += _named_files(text, path.parent, root)
    for pattern in source.reads:
        found += _declared_files(pattern, path, root)
    return found


def _packages(path: Path, root: Path) -> Iterator[Path]:
    """The `__init__.py` of every package that a module is in: importing the module runs them."""
    for folder in path.parents:
        if folder == root:
            return
        if "__init__.py" in _names(folder):
            yield folder / "__init__.py"


def _module_files(module: str, root: Path) -> Iterator[Path]:
    """`zsr.a.b` runs zsr/__init__.py, zsr/a/__init__.py and zsr/a/b.py: all of them count."""
    folder = root
    for part in module.split("."):
        names = _names(folder)
        if f"{part}.py" in names:
            yield folder / f"{part}.py"
        if part not in names:
            return
        folder = folder / part
        if "__init__.py" in _names(folder):
            yield folder / "__init__.py"


def _exports(module: str, root: Path) -> Iterable[str]:
    """What a star takes of a module: the names in its `__all__`, which may be modules."""
    file = root.joinpath(*module.split("."), "__init__.py")
    return _source(file).exported if file.is_file() else ()


def _named_files(text: str, folder: Path, root: Path) -> Iterator[Path]:
    if "/" not in text:
        for place in (folder, root / RESOURCES):
            if text in _names(place) and (place / text).is_file():
                yield place / text
        return
    places = [folder, root / "zsr", root / RESOURCES] + (
        [root] if text.startswith(tuple(f"{name}/" for name in PACKAGES)) else []
    )
    for place in places:
        if ".." not in text and not text.startswith("/") and (place / text).is_file():
            yield place / text


def _declared_files(pattern: str, path: Path, root: Path) -> list[Path]:
    """What `reads` names: relative to the module's folder or to the checkout."""
    for place in (path.parent, root):
        if found := sorted(file for file in place.glob(pattern) if file.is_file()):
            return found
    raise ZsrError(f"{path}: `reads` names '{pattern}', and there is no such file beside it or in the checkout")


def _absolute(level: int, module: str, path: Path, root: Path) -> str:
    if not level:
        return module
    package = list(path.relative_to(root).with_suffix("").parts)
    package = package[: len(package) - level]
    return ".".join(package + ([module] if module else []))


@cache
def _names(folder: Path) -> frozenset[str]:
    """The names in a folder; none if it is no folder."""
    return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()

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
from typing import NamedTuple

import yaml

from zsr.errors import ZsrError
from zsr.hashing import canonical, short_hash
from zsr.registry import ROOT, filename

RESOURCES = "resources"  # numbers of others that tables and report stand beside ours
PACKAGES = ("zsr", "zsr_kernels", "workflow", RESOURCES)  # whose files may be named by their path from the checkout
UNSAID = ("ctx", "kind", "type_comment")  # of syntax trees: they follow from the rest, or mean nothing
TEXTS = (".csv", ".tsv", ".txt", ".json", ".html", ".css", ".js")  # their line ends mean nothing
LONGEST_NAME = 100


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
def environment(name: str, root: Path = ROOT) -> str:
    """The hash of the pins in envs/<name>.yaml; comments and order do not count."""
    return short_hash(canonical(pins(name, root)))


@cache
def pins(name: str, root: Path = ROOT) -> dict[str, str]:
    """package -> version of an environment file (pip pins and conda pins alike)."""
    path = root / "envs" / f"{name}.yaml"
    found: dict[str, str] = {}
    for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]:
        for pin in entry["pip"] if isinstance(entry, dict) else [entry]:
            package, _, version = pin.replace("==", "=").partition("=")
            found[package.strip()] = version.strip()
    return found


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
        return short_hash(repr(_shape(ast.parse(content)))) if docs else _mentioned(content).digest
    if suffix == ".yaml":
        return short_hash(repr(yaml.safe_load(content)))  # code may depend on the order of keys
    if suffix in TEXTS:
        content = content.replace(b"\r\n", b"\n").removeprefix(b"\xef\xbb\xbf")
    return hashlib.sha256(content).hexdigest()[:20]


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


# -- what a source file mentions -------------------------------------------------------------------------------------


Import = tuple[int, str, tuple[str, ...]]  # (level, module, names): `from ..a import b, c`


class Source(NamedTuple):
    """What one text of Python mentions; says nothing of what is on disk."""

    imports: tuple[Import, ...]
    texts: tuple[str, ...]  # string literals that may be names of files, and such names joined by `/`
    components: tuple[tuple[str, str], ...]  # (kind, name) of `registry.load`
    exported: tuple[str, ...]  # `__all__`
    reads: tuple[str, ...]  # declared
    reads_docs: bool
    digest: str  # of the syntax tree without docstrings


def _source(path: Path) -> Source:
    try:
        return _mentioned(_read(path))
    except SyntaxError as error:
        raise ZsrError(f"{path}:{error.lineno}: {error.msg}") from error


@cache
def _mentioned(content: bytes) -> Source:
    imports: list[Import] = []
    components: list[tuple[str, str]] = []
    texts: list[str] = []
    exported: list[str] = []
    reads: list[str] = []
    docs = False
    tree = ast.parse(content)
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts += [node.value] if _may_be_name(node.value) else []
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            texts += _joined(node)
        elif isinstance(node, ast.Call):
            imports += _imported_by_call(node)
            components += _loaded_by_call(node)
            texts += ["/".join(words)] if _called(node) == "joinpath" and (words := _words(node.args)) else []
            docs |= _called(node) in ("getdoc", "get_docstring") or (
                _called(node) == "getattr" and "__doc__" in _words(node.args)
            )
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name, found in (("__all__", exported), ("reads", reads)):
                if node.value and any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    found += _words(ast.walk(node.value))
        docs |= isinstance(node, ast.Attribute) and node.attr == "__doc__"
        docs |= isinstance(node, ast.Name) and node.id == "__doc__"
    return Source(
        imports=tuple(dict.fromkeys(imports)),
        texts=tuple(dict.fromkeys(texts)),
        components=tuple(dict.fromkeys(components)),
        exported=tuple(dict.fromkeys(exported)),
        reads=tuple(dict.fromkeys(reads)),
        reads_docs=docs,
        digest=short_hash(repr(_shape(_without_docstrings(tree)))),
    )


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`, which never run; its `else:` does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _called(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield other
                yield from _nodes(other)
            continue
        yield node
        yield from _nodes(node)


def _called(node: ast.AST) -> str:
    """The last name of `a.b.c` or of the call `a.b.c(…)`."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _words(nodes: Iterable[ast.AST]) -> list[str]:
    """The string literals among some nodes."""
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _may_be_name(text: str) -> bool:
    return 0 < len(text) < LONGEST_NAME and "\n" not in text and not text.endswith(".py")


def _joined(node: ast.expr) -> list[str]:
    """`HERE / "tables" / "a.csv"` -> tables/a.csv."""
    words: list[str] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and (word := _words([node.right])):
        words = word + words
        node = node.left
    return ["/".join(words)] if len(words) > 1 and not words[-1].endswith(".py") else []


def _imported_by_call(node: ast.Call) -> list[Import]:
    """`import_module("zsr.a")`, `import_module(".a", __package__)`, `__import__("zsr.a")`."""
    if _called(node) not in ("import_module", "__import__") or not node.args or not (words := _words(node.args[:1])):
        return []
    module = words[0].lstrip(".")
    if not (level := len(words[0]) - len(module)):
        return [(0, module, ())]
    others = [*node.args[1:], *(key.value for key in node.keywords)]
    if package := _words(others):  # the dots are counted from this package
        parts = package[0].split(".")
        return [(0, ".".join([*parts[: len(parts) - level + 1], module]), ())]
    return [(level, module, ())]


def _loaded_by_call(node: ast.Call) -> list[tuple[str, str]]:
    """`registry.load("methods", "tecoa")`."""
    words = _words(node.args)
    return [(words[0], words[1])] if _called(node) == "load" and len(words) == len(node.args) == 2 else []


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


# -- syntax trees as text ---------------------------------------------------------------------------------------------


def _shape(node: object) -> object:
    """A syntax tree as nested lists, alike for every version of Python: fields that newer ones add are empty."""
    if isinstance(node, ast.Constant):
        return ["Constant", repr(node.value)]
    if isinstance(node, ast.AST):
        fields = [[name, _shape(value)] for name, value in ast.iter_fields(node) if name not in UNSAID]
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    return [_shape(item) for item in node] if isinstance(node, list) else node


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, holders) and node.body and _is_text(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

"""The fingerprint of the code that a job runs, so that a result is remade exactly when its code has changed.

Snakemake tracks neither imported modules nor the text of scripts (a touch reruns everything, an edited import reruns
nothing). Here the imports are walked from the job's entry points by `ast`, inside the project only, and each file is
hashed as its syntax tree without docstrings: comments and formatting do not count, nor does Python's version.
Components are loaded by name (`zsr.registry`), so a job's roots name the one method, attack or reader that it uses and
no other is followed.
A file that is not Python counts when a module names it in a string literal, beside the module or in resources/.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from zsr.errors import ZsrError
from zsr.registry import ROOT

PACKAGES = ("zsr", "zsr_kernels", "workflow")
RESOURCES = "resources"  # numbers of others that tables and report stand beside ours
UNSAID = ("ctx", "kind", "type_comment")  # of syntax trees: they follow from the rest, or mean nothing


@dataclass(frozen=True)
class Fingerprint:
    """One digest for the whole closure, and one per file, so that `zsr why` can name the file that changed."""

    digest: str
    files: dict[str, str]


def fingerprint(roots: Iterable[str], root: Path = ROOT) -> Fingerprint:
    """Hash everything that the entry points `roots` (paths relative to the checkout) can reach."""
    return _fingerprint(tuple(sorted(roots)), root)


@cache
def _fingerprint(roots: tuple[str, ...], root: Path) -> Fingerprint:
    files = _closure(roots, root)
    return Fingerprint(short_hash(canonical(files)), files)


def forget() -> None:
    """Drop what was read, so that the next `fingerprint` sees the files as they are now."""
    for cached in (_fingerprint, _closure, _scan, hash_file):
        cached.cache_clear()


def canonical(value: object) -> str:
    """JSON with one spelling: sorted keys, no blanks; floats keep their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def short_hash(text: str) -> str:
    """20 hex digits of sha256: no two specs of any study collide, and a person can still compare them."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


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
def _closure(roots: tuple[str, ...], root: Path) -> dict[str, str]:
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
            waiting += _scan(path, root)
    return {str(path.relative_to(root)): hash_file(path) for path in sorted(seen)}


@cache
def hash_file(path: Path) -> str:
    """Python by its syntax tree without docstrings, YAML by its content, anything else by its bytes."""
    if path.suffix == ".py":
        return short_hash(repr(_shape(_without_docstrings(_parse(path)))))
    if path.suffix == ".yaml":
        return short_hash(canonical(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


def _shape(node: object) -> object:
    """A syntax tree as nested lists, alike for every version of Python: fields that newer ones add are empty."""
    if isinstance(node, ast.Constant):
        return ["Constant", repr(node.value)]
    if isinstance(node, ast.AST):
        fields = [[name, _shape(value)] for name, value in ast.iter_fields(node) if name not in UNSAID]
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    return [_shape(item) for item in node] if isinstance(node, list) else node


@cache
def _scan(path: Path, root: Path) -> tuple[Path, ...]:
    """The files of the project that a module imports or names."""
    found: list[Path] = []
    for node in _nodes(_parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found += _module_files(alias.name, root)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, path, root)
            found += _module_files(module, root)
            for alias in node.names:
                found += _module_files(f"{module}.{alias.name}", root)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += _named_files(node.value, (path.parent, root / RESOURCES))
    return tuple(found)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _nodes(node)


def _named_files(text: str, folders: Iterable[Path]) -> Iterator[Path]:
    if "." in text and len(text) < 100 and "\n" not in text and not text.endswith(".py"):
        for candidate in (folder / text for folder in folders):
            if candidate.suffix and candidate.is_file():
                yield candidate


def _absolute(node: ast.ImportFrom, path: Path, root: Path) -> str:
    if not node.level:
        return node.module or ""
    package = list(path.relative_to(root).with_suffix("").parts)
    package = package[: len(package) - node.level]
    return ".".join(package + ([node.module] if node.module else []))


def _module_files(module: str, root: Path) -> Iterator[Path]:
    """`zsr.a.b` runs zsr/__init__.py, zsr/a/__init__.py and zsr/a/b.py: all of them count."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return
    for depth in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        for candidate in (base / "__init__.py", base.with_suffix(".py")):
            if candidate.is_file():
                yield candidate


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ZsrError(f"{path}:{error.lineno}: {error.msg}") from error


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, holders) and node.body and _is_text(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

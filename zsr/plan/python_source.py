"""What one Python source mentions (modules, files, components), and its syntax tree as text. Reads no file."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from zsr.hashing import short_hash

UNSAID = ("ctx", "kind", "type_comment")  # of syntax trees: they follow from the rest, or mean nothing
LONGEST_NAME = 100
Import = tuple[int, str, tuple[str, ...]]  # (level, module, names): `from ..a import b, c`


class Mentions(NamedTuple):
    """What one text of Python mentions; says nothing of what is on disk."""

    imports: tuple[Import, ...]
    texts: tuple[str, ...]  # string literals that may be names of files, and such names joined by `/`
    components: tuple[tuple[str, str], ...]  # (kind, name) of `registry.load`
    exported: tuple[str, ...]  # `__all__`
    reads: tuple[str, ...]  # declared
    reads_docs: bool
    digest: str  # of the syntax tree without docstrings


@cache
def mentions(content: bytes) -> Mentions:
    """All that the fingerprint needs of one source, from a single pass over its syntax tree."""
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
    return Mentions(
        imports=tuple(dict.fromkeys(imports)),
        texts=tuple(dict.fromkeys(texts)),
        components=tuple(dict.fromkeys(components)),
        exported=tuple(dict.fromkeys(exported)),
        reads=tuple(dict.fromkeys(reads)),
        reads_docs=docs,
        digest=short_hash(repr(shape(_without_docstrings(tree)))),
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


def shape(node: object) -> object:
    """A syntax tree as nested lists, alike for every version of Python: fields that newer ones add are empty."""
    if isinstance(node, ast.Constant):
        return ["Constant", repr(node.value)]
    if isinstance(node, ast.AST):
        fields = [[name, shape(value)] for name, value in ast.iter_fields(node) if name not in UNSAID]
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    return [shape(item) for item in node] if isinstance(node, list) else node


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, holders) and node.body and _is_text(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

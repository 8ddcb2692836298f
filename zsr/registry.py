"""Finds components by name: `zsr/<kind>/<name>.py` holds one dataclass, its fields are the component's settings.

`describe` reads settings and defaults from the syntax tree, so that the plan (which every cluster job parses again)
never imports torch; `load` imports the one module that is named. No package imports all of its components: a job
depends on the code of the method and the attack that it runs, and on no other's (see `zsr.plan.fingerprint`).
"""

import ast
import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from zsr.errors import ZsrError, unknown

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent  # the checkout: holds zsr/, zsr_kernels/, workflow/

# kind -> the name of the base class that marks a file of zsr/<kind>/ as a component
BASES = {"attacks": "Attack", "methods": "Method", "data/readers": "Reader"}


@dataclass(frozen=True)
class Setting:
    """One hyper-parameter: its annotation as written, and its default (`required` if there is none)."""

    annotation: str
    default: object
    required: bool = False


@dataclass(frozen=True)
class Description:
    """What the plan knows of a component without importing it."""

    name: str
    path: Path
    settings: dict[str, Setting]
    constants: dict[str, object]  # class attributes with literal values, such as `trains = False`


def filename(name: str) -> str:
    """'tga-zsr' -> 'tga_zsr': names in the config use hyphens, modules cannot."""
    return name.replace("-", "_")


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise ZsrError(f"{path}:{error.lineno}: {error.msg}") from error


@cache
def names(kind: str) -> tuple[str, ...]:
    """All components of a kind, as the config writes them."""
    components = []
    for path in sorted((PACKAGE / kind).glob("*.py")):
        definition = _class_of(path)
        if definition and BASES[kind] in _lineage(path, definition):
            components.append(path.stem.replace("_", "-"))
    return tuple(components)


def component_path(kind: str, name: str, where: str = "") -> Path:
    """The file of a component; an unknown name raises with the nearest known one."""
    if name not in names(kind):
        raise unknown(kind.rsplit("/")[-1].rstrip("s"), name, names(kind), where)
    return PACKAGE / kind / f"{filename(name)}.py"


@cache
def describe(kind: str, name: str) -> Description:
    """Settings, defaults and constants of a component, read from its syntax tree (base classes included)."""
    path = component_path(kind, name)
    settings: dict[str, Setting] = {}
    constants: dict[str, object] = {}
    for owner, body in reversed(_chain(path, _component_class(path))):
        _read_fields(owner, body, settings, constants)
    return Description(name, path, settings, constants)


@cache
def fields_of(path: Path, name: str) -> dict[str, Setting]:
    """The settings of one dataclass of a file, such as a training recipe."""
    settings: dict[str, Setting] = {}
    definition = _find_class(path, name)
    if definition is None:
        raise ZsrError(f"{path}: has no class '{name}'")
    for owner, body in reversed(_chain(*definition)):
        _read_fields(owner, body, settings, {})
    return settings


def overrides(kind: str, name: str, function: str) -> bool:
    """Whether a component, or a class between it and the base of its kind, has a function of this name of its own."""
    path = component_path(kind, name)
    return any(
        isinstance(node, ast.FunctionDef) and node.name == function
        for _, body in _chain(path, _component_class(path))
        if body.name != BASES[kind]
        for node in body.body
    )


def load(kind: str, name: str) -> type:
    """Import the module of a component and return its class."""
    path = PACKAGE / kind / f"{filename(name)}.py"
    if not path.is_file():
        component_path(kind, name)  # says which are known; reads them all
    module: ModuleType = importlib.import_module(f"zsr.{kind.replace('/', '.')}.{path.stem}")
    return getattr(module, _component_class(path).name)


# -- reading classes by ast ------------------------------------------------------------------------------------------


def _class_of(path: Path) -> ast.ClassDef | None:
    """The class named after its file: `tga_zsr.py` -> `TgaZsr`, `TGAZSR`, … (case and underscores do not count)."""
    wanted = path.stem.replace("_", "").lower()
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name.lower() == wanted:
            return node
    return None


def _component_class(path: Path) -> ast.ClassDef:
    """The class named after the file of a component."""
    definition = _class_of(path)
    if definition is None:
        raise ZsrError(f"{path}: has no class named after the file; name the component's class so")
    return definition


def _lineage(path: Path, definition: ast.ClassDef) -> set[str]:
    return {base.id for _, body in _chain(path, definition) for base in body.bases if isinstance(base, ast.Name)}


def _chain(path: Path, definition: ast.ClassDef) -> list[tuple[Path, ast.ClassDef]]:
    """The class and its bases inside the project, nearest first."""
    chain = [(path, definition)]
    for base in definition.bases:
        if isinstance(base, ast.Name) and (definition_of_base := _find_class(path, base.id)):
            chain += _chain(*definition_of_base)
    return chain


def _find_class(path: Path, name: str) -> tuple[Path, ast.ClassDef] | None:
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return path, node
        if isinstance(node, ast.ImportFrom) and node.module and any(a.name == name for a in node.names):
            origin = ROOT / Path(*node.module.split("."))
            for candidate in (origin.with_suffix(".py"), origin / "__init__.py"):
                if candidate.is_file():
                    return _find_class(candidate, name)
    return None


def _read_fields(path: Path, body: ast.ClassDef, settings: dict, constants: dict) -> None:
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            annotation = ast.unparse(node.annotation)
            name = node.target.id
            if annotation.startswith("ClassVar"):
                if node.value is not None:
                    constants[name] = _literal(path, node.value, name)
            elif node.value is None:
                settings[name] = Setting(annotation, None, required=True)
            else:
                settings[name] = Setting(annotation, _literal(path, node.value, name))


def _literal(path: Path, node: ast.expr, name: str) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ZsrError(f"{path}:{node.lineno}: the default of '{name}' must be a literal, the plan reads it") from error

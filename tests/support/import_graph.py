"""The imports between the modules of zsr, read from their source: counts, arrows that point back, circles.

python tests/support/import_graph.py            # of this checkout; name a folder for another one
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

Graph = dict[str, set[str]]  # module (or package) -> what it imports


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file, of zsr and zsr_kernels; a package's `__init__.py` has the package's name."""
    found = {}
    for package in ("zsr", "zsr_kernels"):
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> Graph:
    """What each module imports of the project, inside functions too; not under `if TYPE_CHECKING:`."""
    known = modules(root)
    return {name: set(_imported(path, known)) - {name} for name, path in known.items()}


def _imported(path: Path, known: Iterable[str]) -> Iterator[str]:
    for node in _running(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield from (one for one in (name, node.module) if one in known and (one == name or name not in known))


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield node
            yield from _running(node)


def package_of(module: str) -> str:
    """`zsr.attacks.core.engine` -> `attacks`; a module at the top of zsr, such as `errors`, stands for itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "zsr" else parts[0]


def packages(graph: Graph) -> Graph:
    """The same graph between packages."""
    found: Graph = defaultdict(set)
    for module, others in graph.items():
        found[package_of(module)] |= {package_of(other) for other in others} - {package_of(module)}
    return dict(found)


def circles(graph: Graph) -> list[set[str]]:
    """The sets of nodes that import each other in a loop (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(set(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def main() -> None:
    """Print the counts."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    graph = imports(root)
    between = packages(graph)
    print(f"modules at the top of zsr/: {len(list((root / 'zsr').glob('*.py')))}")
    print(f"modules: {len(graph)}, arrows between them: {sum(map(len, graph.values()))}")
    print(f"packages and modules at the top: {len(between)}, arrows between them: {sum(map(len, between.values()))}")
    for what, found in (("modules", circles(graph)), ("packages", circles(between))):
        print(f"circles of {what}: {len(found)}", *(" ".join(sorted(circle)) for circle in found), sep="\n  ")


if __name__ == "__main__":
    main()

"""A config file as text: what a person may have got wrong before any key has a meaning.

Snakemake reads its config with other readers (JSON first, then YAML with templates), which keep the last of two equal
keys and stop with a traceback where the text is no text; so each file is read here too, before the plan is made.
"""

import json
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import yaml

from zsr.errors import ZsrError, short, system_error

T = TypeVar("T")

DEEPEST = 30  # levels of lists and mappings
PLAIN = {
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map", "merge")
}
TEMPLATE = "__use_yte__"  # Snakemake would run the expressions of such a file


def read(path: Path) -> dict[str, Any]:
    """One config file as it was written; `zsr.plan.plan` completes it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ZsrError(f"{path}: no such config file") from error
    except OSError as error:
        raise system_error(path, error, "", "cannot be read as a config file") from error
    except UnicodeDecodeError as error:
        raise ZsrError(
            f"{path}: not UTF-8 text (byte {error.start + 1} is 0x{error.object[error.start]:02x}); save it as UTF-8"
        ) from error
    try:
        raw = Strict(text).get_single_data()
    except yaml.YAMLError as error:
        raise ZsrError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except ZsrError as error:
        raise ZsrError(f"{path}: {error}") from error
    with suppress(ValueError):
        raw = json.loads(text)  # as Snakemake does: in JSON 1e-3 is a number, in YAML it is text
    if not isinstance(raw, dict):
        raise ZsrError(
            f"{path}: {'empty' if raw is None else 'no mapping'}; a config is a mapping of keys, see config.yaml"
        )
    if TEMPLATE in raw:
        raise ZsrError(f"{path}: {TEMPLATE}: a config of zsr is no template; take it out")
    return raw


def check_files(paths: Iterable[Path | str]) -> None:
    """Raise for the first file that is not a config, in one line."""
    for path in paths:
        read(Path(path))


class Strict(yaml.SafeLoader):
    """YAML whose keys stand once, whose anchors have an end, and whose numbers are what people read."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._open: list[str | None] = []  # the anchors of what encloses the present node

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count the levels, and refuse an alias of what it stands in: it would have no end."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) and event.anchor in self._open:
            raise ZsrError(f"line {line}: *{event.anchor} stands inside of what it repeats; take it out")
        if len(self._open) >= DEEPEST:
            raise ZsrError(f"line {line}: more than {DEEPEST} lists and mappings inside each other")
        self._open.append(getattr(event, "anchor", None))
        node = super().compose_node(parent, index)
        self._open.pop()
        if node and (node.tag not in PLAIN or getattr(event, "tag", None) not in (None, "!", "tag:yaml.org,2002:str")):
            raise yaml.YAMLError(f"line {line}: the tag {short(node.tag)}; a config has plain values alone")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """Refuse a key that stands twice: YAML would keep the last one without a word."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in lines:
                raise ZsrError(
                    f"the key '{short(key.value)}' stands twice, in lines {lines[key.value]} and {line}; take one out"
                )
            lines[key.value] = line
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Refuse 1:30, which YAML takes for 90, and 010, which it takes for 8."""
        text = node.value.lstrip("+-")
        if ":" in text or (len(text) > 1 and text[0] == "0"):
            raise _misread(node)
        return self._number(super().construct_yaml_int, node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """Refuse 1:30.5, which YAML takes for 90.5."""
        if ":" in node.value:
            raise _misread(node)
        return self._number(super().construct_yaml_float, node)

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> date:
        """A date, which whoever looks at the values refuses by its key."""
        return self._number(super().construct_yaml_timestamp, node)

    def _number(self, construct: Callable[[yaml.ScalarNode], T], node: yaml.ScalarNode) -> T:
        try:
            return construct(node)
        except ValueError as error:  # the 45th of a month; more digits than Python reads
            raise ZsrError(f"line {node.start_mark.line + 1}: {short(node.value)} cannot be read ({error})") from error


def _misread(node: yaml.ScalarNode) -> ZsrError:
    return ZsrError(
        f"line {node.start_mark.line + 1}: YAML reads {short(node.value)} as another number; write it plainly"
    )


for kind in ("int", "float", "timestamp"):
    Strict.add_constructor(f"tag:yaml.org,2002:{kind}", getattr(Strict, f"construct_yaml_{kind}"))

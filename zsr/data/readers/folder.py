"""A folder of class folders, in an archive or unpacked: EuroSAT, Caltech-256, SUN397, or a set of yours."""

from dataclasses import dataclass

from zsr.data.pictures import Entry, FileReader, Pictures, from_trees
from zsr.data.sources import Sources
from zsr.data.trees import Tree, open_tree
from zsr.errors import ZsrError

PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")


@dataclass(frozen=True)
class Folder(FileReader):
    """Labels follow the dataset's `keys`, the sorted names of the class folders without them.

    Other files than pictures (by name) are passed over: such archives hold lists, thumbnails and leftovers.
    """

    archive: str = ""  # the file that holds the folders; empty: the dataset's folder itself
    inside: str = "{split}"  # where in it the class folders lie
    nested: bool = False  # classes are paths of any depth, as `a/apse/indoor` of SUN397
    numbered: bool = False  # folders are called 0, 1, 2 …, the places of the classes

    def open(self, split: str, sources: Sources) -> Pictures:
        tree = sources.tree(self.archive) if self.archive else _own(sources)
        return from_trees(self.entries(tree, self.inside.replace("{split}", split).strip("/"), sources.keys))

    def entries(self, tree: Tree, inside: str, keys: list[str]) -> list[Entry]:
        """All pictures, by class and name."""
        found: dict[str, list[str]] = {}
        prefix = f"{inside}/" if inside else ""
        for name in tree.names:
            if name.startswith(prefix) and name.lower().endswith(PICTURES):
                parts = name[len(prefix) :].split("/")
                if len(parts) == 2 or (self.nested and len(parts) > 2):
                    found.setdefault("/".join(parts[:-1]), []).append(name)
        if not found:
            raise ZsrError(f"{tree.path}: no folders of pictures under '{inside or '.'}'")
        order = [str(i) for i in range(len(found))] if self.numbered else keys or sorted(found)
        lacking = sorted(set(order) - set(found))
        if lacking:
            raise ZsrError(
                f"{tree.path}: no folder '{prefix}{lacking[0]}' with pictures ({len(lacking)} classes lack theirs)"
            )
        return [Entry(tree, name, label) for label, key in enumerate(order) for name in sorted(found[key])]


def _own(sources: Sources) -> Tree:
    if not sources.folder.is_dir():
        raise ZsrError(f"{sources.folder}: no such folder; {sources.missing or 'place the class folders there'}")
    return open_tree(sources.folder)

"""Refuses to judge the results of one checkout by the code of another.

One environment can serve two checkouts (`git worktree`), and its `zsr` imports the code of the one that it was
installed from. In the other checkout every result would look stale, and `zsr repair` would remove them all.
"""

from pathlib import Path

from zsr.errors import ZsrError
from zsr.registry import ROOT


def refuse_other_checkout(*paths: Path) -> None:
    """Raise if a path (the working directory, a config) lies in another checkout than the code that runs."""
    for path in paths:
        checkout = checkout_of(path)
        if checkout not in (None, ROOT):
            raise ZsrError(
                f"{checkout} is another checkout of zsr, and the code that runs is that of {ROOT}; run "
                f"`python -m zsr …` or `python -m snakemake …` in {checkout}, or use that checkout's own environment"
            )


def checkout_of(path: Path) -> Path | None:
    """The nearest folder at or above a path that is a checkout: it holds the Snakefile and zsr/."""
    path = path.resolve()
    return next((folder for folder in (path, *path.parents) if is_checkout(folder)), None)


def is_checkout(folder: Path) -> bool:
    return (folder / "Snakefile").is_file() and (folder / "zsr" / "__init__.py").is_file()

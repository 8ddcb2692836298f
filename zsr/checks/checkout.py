"""Which checkout is at work: results of one checkout must not be judged by the code of another.

One environment can serve two checkouts (`git worktree`), and its `zsr` imports the code of the one that it was
installed from. In the other checkout every result would look stale, and `zsr repair` would remove them all.
"""

from pathlib import Path

from zsr.errors import ZsrError
from zsr.registry import ROOT


def refuse_other_checkout(*places: Path) -> None:
    """Raise if a place (the working directory, a config) lies in another checkout than the code that runs."""
    for place in places:
        found = checkout_of(place)
        if found not in (None, ROOT):
            raise ZsrError(
                f"{found} is another checkout of zsr, and the code that runs is that of {ROOT}; run `python -m zsr …` "
                f"or `python -m snakemake …` in {found}, or use that checkout's own environment"
            )


def checkout_of(place: Path) -> Path | None:
    """The nearest folder at or above `place` that is a checkout: it holds the Snakefile and zsr/."""
    place = place.resolve()
    return next((folder for folder in (place, *place.parents) if is_checkout(folder)), None)


def is_checkout(folder: Path) -> bool:
    return (folder / "Snakefile").is_file() and (folder / "zsr" / "__init__.py").is_file()

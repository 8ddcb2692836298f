"""Tables as CSV and back without loss: names stay text ('NA', '1e5', '007' are legal names), numbers stay numbers."""

import io
from pathlib import Path

import pandas as pd

from zsr.storage.records import check_digest

NUMBERS = frozenset(
    {"chance", "seconds", "difference", "lo", "hi", "share_a", "share_b", "p", "p_holm", "peak_memory",
     "images_per_second", "seconds_per_step", "forward_per_image", "backward_per_image", "original_per_image"}
    | {f"{quantity}{end}" for quantity in ("clean", "robust") for end in ("", "_lo", "_hi", "_sd")}
)  # fmt: skip
COUNTS = frozenset(
    {"seed", "seeds", "n", "classes", "passes", "forward", "backward", "sets", "step", "only_a", "only_b"}
)
FLAGS = frozenset({"is_source", "shares_words"})


def dumps(table: pd.DataFrame) -> str:
    """The CSV text of a table; floats with ten digits, so that equal results give equal bytes."""
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def loads(text: str) -> pd.DataFrame:
    """The table of a CSV text, with the types that `zsr.report.tables.build` gave it."""
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    for name in table.columns:
        if name in NUMBERS:
            table[name] = [float(item or "nan") for item in table[name]]
        elif name in COUNTS:
            table[name] = table[name].astype("int64")
        elif name in FLAGS:
            table[name] = table[name] == "True"
    return table


def read(folder: Path, record: dict) -> dict[str, pd.DataFrame]:
    """All tables beside their record; one whose bytes are not those that the record names is refused."""
    return {
        name: loads(check_digest(folder / f"{name}.csv", digest).read_text(encoding="utf-8"))
        for name, digest in record["digests"].items()
    }

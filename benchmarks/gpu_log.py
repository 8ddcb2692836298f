"""Make the tables of docs/gpu-log.md from the committed rows.

    python benchmarks/gpu_log.py                       # write the table again
    python benchmarks/gpu_log.py DIR/rows.jsonl        # first store the rows of a run, named for its GPU and date

Rows are kept in benchmarks/results/gpu/, one file for each run; questions, goals and predictions are those of
benchmarks/gpu/questions.py.
"""

import argparse
import itertools
import re
import sys
from pathlib import Path

from gpu.questions import QUESTIONS, Question
from gpu.rows import latest, read

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "benchmarks" / "results" / "gpu"
PAGE = ROOT / "docs" / "gpu-log.md"
BEGIN, END = "<!-- the table: python benchmarks/gpu_log.py -->\n", "<!-- end of the table -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="*", help="rows.jsonl of a run on a GPU")
    for path in parser.parse_args().rows:
        print(store_run(path, ROWS))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), committed()), encoding="utf-8")


def committed() -> list[dict]:
    """All rows of the repository."""
    return read(sorted(ROWS.glob("*.jsonl"), key=lambda path: (len(path.stem), path.stem)))  # run 2 after run 1


def store_run(path: Path, folder: Path) -> Path:
    """Copy the rows of a run into `folder`; rows of a CPU or of a tiny run are refused."""
    rows = read([path])
    if any(row["tiny"] for row in rows):
        sys.exit(f"{path}: rows of a tiny run measure nothing")
    cards = {(row["card"], row["date"]) for row in rows if row["driver"]}
    if not cards:
        sys.exit(f"{path}: no row of a GPU")
    if len({card for card, _ in cards}) > 1:
        sys.exit(f"{path}: rows of several GPUs; keep each run in a folder of its own")
    card, date = min(cards)
    stem, content = f"{re.sub(r'[^a-z0-9]+', '-', card.lower()).strip('-')}-{date}", path.read_bytes()
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.jsonl" for number in itertools.count(1))
    kept = next(kept for name in names if free(kept := folder / name, content))
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(content)
    return kept


def free(kept: Path, content: bytes) -> bool:
    """Whether a name is not taken by another run; the same run may have gone on."""
    return not kept.exists() or content.startswith(kept.read_bytes())


def page(text: str, rows: list[dict]) -> str:
    """The page with its table made again."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{PAGE}: the two marker lines of the table are missing")
    return f"{before}{begin}\n{table(rows)}\n{end}{after}"


def table(rows: list[dict]) -> str:
    """Markdown: one table for each part."""
    parts = dict.fromkeys(question.part for question in QUESTIONS)
    return "\n".join(section(part, rows) for part in parts)


def section(part: str, rows: list[dict]) -> str:
    """The questions of one part, with the command that answers them."""
    lines = [f"### `python benchmarks/on_gpu.py --only {part} --out DIR`", ""]
    lines += ["| question | goal | prediction | result | card, date |", "|---|---|---|---|---|"]
    for question in QUESTIONS:
        if question.part == part:
            answers, cards = results(question, rows)
            lines.append(f"| {question.text} | {question.goal.text} | {question.predicted} | {answers} | {cards} |")
    return "\n".join([*lines, ""])


def results(question: Question, rows: list[dict]) -> tuple[str, str]:
    """The answer of each card, and the day of its last row."""
    answers, cards = [], []
    for card in dict.fromkeys(row["card"] for row in rows if row["driver"]):
        mine = latest(sorted((row for row in rows if row["card"] == card), key=lambda row: row["date"]))
        if answer := question.answer(mine):
            answers.append(answer)
            cards.append(f"{card}, {max(row['date'] for row in mine if question.uses(row))}")
    return "<br>".join(answers) or "open", "<br>".join(cards)


if __name__ == "__main__":
    main()

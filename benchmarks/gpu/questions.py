"""What is asked of a card: question, goal, prediction, and how the answer is read off the rows.

Predictions were written before any card had run this. They are for an H100 (3.0 TB/s copied, 798 TFLOP/s in fp16); an
H200 copies 1.4 times as fast and computes alike. `docs/gpu-log.md` is made of this list and of the committed rows; the
command prints it for its own rows. Nothing here imports torch.
"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from gpu.rows import latest

LONGEST = 10_000  # characters of the printed table


class Pick(NamedTuple):
    """Rows by patterns of their case and side."""

    case: str
    side: str
    unit: str

    def __call__(self, row: dict) -> bool:
        matches = fnmatchcase(row["case"], self.case) and fnmatchcase(row["side"], self.side)
        return matches and row["unit"] == self.unit


class Over(NamedTuple):
    """A ratio, case by case: one side over another; `case` of the other where it is another case."""

    pick: Pick
    side: str
    case: str | None = None


class Goal(NamedTuple):
    """At least, at most, or only to be stated."""

    text: str
    holds: Callable[[float], bool] | None = None
    worst: Callable[[Iterable[float]], float] = max


def at_least(bound: float) -> Goal:
    return Goal(f"≥ {bound:,g}", lambda value: value >= bound, min)


def at_most(bound: float) -> Goal:
    return Goal(f"≤ {bound:g}" if bound else "0", lambda value: value <= bound, max)


STATED = Goal("stated")


class Question(NamedTuple):
    """`cuda`: no CPU has an answer, not even a meaningless one."""

    part: str
    text: str
    of: Pick | Over
    goal: Goal
    predicted: str
    cuda: bool = False

    @property
    def picks(self) -> list[Pick]:
        """All rows that it looks at."""
        if isinstance(self.of, Pick):
            return [self.of]
        pick, side, case = self.of
        return [pick, Pick(case or pick.case, side, pick.unit)]

    def covers(self, row: dict) -> bool:
        return row["part"] == self.part and any(pick(row) for pick in self.picks)

    def found(self, rows: list[dict]) -> dict[str, float]:
        """Case -> value; `rows` of one card."""
        mine = [row for row in rows if row["part"] == self.part and row["value"] is not None]
        if isinstance(self.of, Pick):
            return {f"{row['case']}, {row['side']}": row["value"] for row in mine if self.of(row)}
        pick, side, case = self.of
        below = {row["case"]: row["value"] for row in mine if Pick(case or pick.case, side, pick.unit)(row)}
        above = {row["case"]: row["value"] for row in mine if pick(row)}
        pairs = {at: (value, below.get(case or at)) for at, value in above.items()}
        return {at: value / other for at, (value, other) in pairs.items() if other}

    def answer(self, rows: list[dict]) -> str:
        """What was measured, over all its cases, and whether the worst meets the goal; '' without a measurement."""
        found = self.found(rows)
        if not found:
            return ""
        low, high = short(min(found.values())), short(max(found.values()))
        text = low if low == high else f"{low} to {high}"
        text += f" in {len(found)} cases" if len(found) > 1 else ""
        if self.goal.holds is None:
            return text
        worst = self.goal.worst(found.values())
        if self.goal.holds(worst):
            return f"{text}: met"
        where = next(case for case, value in found.items() if value == worst)
        return f"{text}: missed" + (f" ({where})" if len(found) > 1 else "")


def short(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def of(case: str, side: str, unit: str) -> Pick:
    return Pick(case, side, unit)


BIT_EQUAL, ROUNDED = ("large linf_step", "large normalize"), ("large apgd_step", "large l2_step", "large start")
COPY, RATE, STEPS = "of the copy", "of the matmul rate", "image-steps/s"


def engine(case: str, side: str, rate: Goal, predicted: str, share: Goal, predicted_share: str) -> Iterable[Question]:
    """PGD-20 by the engine: its rate, and its share of the matmul rate of its precision."""
    text = f"{case}, {side}" + ("" if "step" in side else " with clean look and verdict")
    cuda = "fp32" not in side
    yield Question("pgd", f"{text}: {STEPS}", of(case, f"engine {side}", STEPS), rate, predicted, cuda)
    yield Question("pgd", "the same, share of the matmul rate", of(case, f"engine {side}", RATE), share,
                   predicted_share, cuda)  # fmt: skip


QUESTIONS = [
    # -- correct ------------------------------------------------------------------------------------------------------
    Question("correct", "cases of tests/kernel_cases.py that fail: all shapes and dtypes, NaN through the clamps",
             of("*", "*", "failures"), at_most(0), "0"),
    *(Question("correct", f"`{case[6:]}` on 32 × 3 × 224²: largest difference from the reference, on the card and on "
               "the CPU", of(case, "against*", "largest difference"), at_most(0), "0")
      for case in BIT_EQUAL),
    *(Question("correct", f"`{case[6:]}`, the same (its products are contracted)",
               of(case, "against*", "largest difference"), at_most(1e-5), "1e-6")
      for case in ROUNDED),
    Question("correct", "same seed twice, B/32: pixels that differ (nothing is added atomically where all keys of an "
             "image fit into one block)", of("same seed, B/32*", "*", "pixels that differ"), at_most(0), "0"),
    Question("correct", "the same, L/14 (flash attention's backward adds blocks of keys atomically)",
             of("same seed, L/14*", "*", "pixels that differ"), STATED, "fp32 0, fp16 some"),
    Question("correct", "the same, towers with convolutions (cuDNN chooses the backward)",
             of("same seed, drawn*", "*", "pixels that differ"), STATED, "0"),
    Question("correct", "features of the original in batches of another size, relative",
             of("remembered features", "*", "relative difference"), at_most(1e-5), "2e-6"),
    Question("correct", "accesses out of bounds, by compute-sanitizer", of("memory accesses", "*", "errors"),
             at_most(0), "0", cuda=True),
    # -- chain --------------------------------------------------------------------------------------------------------
    Question("chain", "pretraining of the drawn backbones, steps of 128 a second",
             of("*, TeCoA", "pretrained", "steps/s"), STATED, "90"),
    Question("chain", "TeCoA with AMP, steps of 100 a second", of("*, TeCoA", "trained", "steps/s"), STATED, "50"),
    Question("chain", "steps that the GradScaler skipped, of 100", of("*", "trained", "steps skipped by the scaler"),
             at_most(5), "1"),
    Question("chain", "last loss over first loss", of("*", "trained", "of its first loss"), at_most(0.95), "0.3"),
    Question("chain", "PGD-20, 1,000 images: verdicts that are not the CPU's", of("*pgd against*", "*",
             "verdicts changed"), at_most(0.005), "fp32 0.001, tf32 and fp16 0.003"),
    Question("chain", "AutoAttack, 200 images: the same", of("*autoattack against*", "*", "verdicts changed"),
             at_most(0.005), "0"),
    Question("chain", "too little memory for the batch: verdicts that change", of("*", "halved", "verdicts changed"),
             at_most(0.005), "0", cuda=True),
    Question("chain", "a fine-tuning killed and resumed: largest difference of the weights (0 on a CPU)",
             of("*", "resumed", "largest difference"), at_most(0.01), "1e-3"),
    Question("chain", "the same fine-tuning twice: largest difference", of("*", "second run", "largest difference"),
             STATED, "1e-3"),
    Question("chain", "a cell of the default config, work on the card over work on one CPU thread",
             Over(of("*default config", "device", "s of work"), "one CPU thread"), STATED, "0.2"),
    Question("chain", "its start on the card over its start on the CPU: with more than 2, `device: cuda` slows the "
             "default run", Over(of("*default config", "device", "s from start to end of a first attack"),
                                 "one CPU thread"), STATED, "2.5"),
    # -- copy ---------------------------------------------------------------------------------------------------------
    Question("copy", "copy on the device, GB/s read and written", of("device copy", "*", "GB/s"), STATED, "3,000"),
    *(Question("copy", f"product of 8192² matrices in {precision}, TFLOP/s",
               of("matrix product", precision, "TFLOP/s"), STATED, rate)
      for precision, rate in {"fp16": "750", "bf16": "790", "tf32": "400", "fp32": "51"}.items()),
    # -- kernels ------------------------------------------------------------------------------------------------------
    *(Question("kernels", f"`{op}`, 256 × 3 × 224²: share of the copy", of(f"{op}, 256 *", "triton", COPY), goal, share)
      for op, goal, share in (
          ("linf_step", at_least(0.9), "0.80: 16 scalar loads and divisions a thread"),
          ("apgd_step", STATED, "0.80"), ("apgd_track", STATED, "0.85"), ("normalize", STATED, "0.65"),
          ("start", STATED, "0.60: hashing"), ("l2_step", STATED, "0.50: reads three times"))),
    Question("kernels", "the six kernels, 32 × 3 × 224²: share of the copy", of("*, 32 × *", "triton", COPY), STATED,
             "0.4 (`l2_step`) to 0.75"),
    Question("kernels", "the same, 512 × 3 × 32²", of("*, 512 × *", "triton", COPY), STATED,
             "0.25 (`l2_step`: launches) to 0.5"),
    Question("kernels", "Triton over eager PyTorch, the least gain", Over(of("*gradient", "triton", COPY), "eager"),
             at_least(1), "1.5 (`apgd_track`)"),
    Question("kernels", "Triton over torch.compile of the reference", Over(of("*gradient", "triton", COPY), "compiled"),
             at_least(1), "0.95 (`linf_step`), 1.0 (`normalize`)"),
    Question("kernels", "projections on a hyperplane and an L1 ball: a look every eighth round, as now, over a look "
             "every round", Over(of("projection*", "eighth", "ms"), "every"), at_most(1), "1.5"),
    Question("kernels", "the same over no look at all", Over(of("projection*", "eighth", "ms"), "never"), at_most(1),
             "0.4"),
    # -- pgd ----------------------------------------------------------------------------------------------------------
    *engine("B/32, batch 256", "fp16, a step", at_least(22_000), "12,500", at_least(0.5), "0.28: autocast moves 36 GB"),
    *engine("B/32, batch 256", "fp16", STATED, "9,500", STATED, "0.23"),
    *engine("B/32, batch 256", "tf32, a step", STATED, "10,000", STATED, "0.45"),
    *engine("B/32, batch 256", "tf32", STATED, "7,500", STATED, "0.35"),
    *engine("B/32, batch 256", "fp32", STATED, "2,300", STATED, "0.85"),
    *engine("L/14, batch 64", "fp16, a step", at_least(1_400), "1,100", at_least(0.6), "0.43"),
    *engine("L/14, batch 64", "fp16", STATED, "800", STATED, "0.33"),
    *engine("L/14, batch 64", "tf32, a step", STATED, "650", STATED, "0.50"),
    *engine("L/14, batch 64", "tf32", STATED, "520", STATED, "0.40"),
    *engine("L/14, batch 64", "fp32", STATED, "140", STATED, "0.90"),
    Question("pgd", "verdicts that are not float32's (random weights: margins are small)",
             of("*", "engine *", "verdicts changed"), at_most(0.005), "0.01", cuda=True),
    Question("pgd", "B/32, batch 32, weights in fp16, by hand: CUDA graph over eager",
             Over(of("B/32, batch 32, by hand", "graph", STEPS), "eager"), at_least(1.3), "2.2", cuda=True),
    Question("pgd", "L/14, batch 16: the same", Over(of("L/14, batch 16, by hand", "graph", STEPS), "eager"), STATED,
             "1.5", cuda=True),
    Question("pgd", "B/32, batch 256: the same", Over(of("B/32, batch 256, by hand", "graph", STEPS), "eager"), STATED,
             "1.03", cuda=True),
    Question("pgd", "L/14, batch 64: the same", Over(of("L/14, batch 64, by hand", "graph", STEPS), "eager"), STATED,
             "1.0", cuda=True),
    Question("pgd", "pixels of the graph that are not the eager launches'", of("*by hand", "graph",
             "pixels that differ"), at_most(0), "0 (L/14: some)", cuda=True),
    Question("pgd", "weights in fp16, by hand, eager: share of the matmul rate", of("*by hand", "eager", RATE), STATED,
             "B/32 0.33 at 256, 0.12 at 32; L/14 0.45"),
    Question("pgd", "the same, as a graph", of("*by hand", "graph", RATE), STATED, "B/32 0.34 at 256, 0.27 at 32",
             cuda=True),
    Question("pgd", "B/32, batch 256: compiled tower over eager", Over(of("*by hand", "compiled", STEPS), "eager"),
             at_least(1.2), "1.45"),
    Question("pgd", "compiled tower: share of the matmul rate", of("*by hand", "compiled", RATE), STATED, "0.48"),
    # -- autoattack ---------------------------------------------------------------------------------------------------
    Question("autoattack", "`standard`, shortened: the authors' time (fp32) over ours in fp16",
             Over(of("*images", "pyautoattack fp32", "s"), "standard fp16"), at_least(8), "5.7", cuda=True),
    Question("autoattack", "the same over ours in fp32", Over(of("*images", "pyautoattack fp32", "s"), "standard fp32"),
             at_least(1), "1.3"),
    # -- train --------------------------------------------------------------------------------------------------------
    Question("train", "step over its floor (passes and optimiser alone), 4 methods, 200 and 1,000 classes",
             Over(of("*classes", "ours", "ms"), "floor"), at_most(1.05), "1.10"),
    Question("train", "the papers' formulation over ours, 1,000 classes",
             Over(of("*1000 classes", "papers", "ms"), "ours"), at_least(5), "6 (`tecoa`), 4 (`tga-zsr`)"),
    Question("train", "the same, 200 classes", Over(of("*200 classes", "papers", "ms"), "ours"), STATED, "2"),
    Question("train", "Triton over the reference in the inner attack", Over(of("*classes", "ours", "ms"), "reference"),
             at_most(1), "0.95"),
    Question("train", "peak memory of the papers' formulation over ours", Over(of("*classes", "papers", "MB"), "ours"),
             at_least(1), "1.3 (200 classes), 4 (1,000)"),
    Question("train", "peak memory of CAW over PMG-AFT's, 1,000 classes",
             Over(of("caw*1000 classes", "ours", "MB"), "ours", "pmg-aft, batch 128, 1000 classes"), at_most(1), "0.7"),
    # -- memory -------------------------------------------------------------------------------------------------------
    Question("memory", "PGD, B/32, batch 256: peak over torchattacks'", Over(of("PGD*", "ours", "MB"), "torchattacks"),
             at_most(1), "0.75, as on a CPU"),
]  # fmt: skip


def table(rows: list[dict]) -> str:
    """Questions with their answers, then what has no measurement: for the end of the command."""
    rows = latest(rows)
    lines = ["", f"{'part':10} | question | goal | predicted | measured"]
    if any(row["tiny"] for row in rows):
        lines.insert(1, "A TINY RUN: it shows that everything runs; its numbers mean nothing.")
    for question in QUESTIONS:
        if answer := question.answer(rows):
            about = f"{question.text} | {question.goal.text} | {question.predicted}"
            lines.append(f"{question.part:10} | {about} | {answer}")
    lines += [f"{row['part']:10} | no measurement: {row['case']}: {row['error']}" for row in rows if "error" in row]
    text = "\n".join(lines)
    return text if len(text) < LONGEST else f"{text[: LONGEST - 40]}\n… (cut off here; all is in rows.jsonl)"

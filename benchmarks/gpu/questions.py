"""The questions to a GPU: goal, prediction, and which rows give the answer.

The predictions were written before any GPU had run this. They are for an H100 (3.0 TB/s copied, 798 TFLOP/s in fp16);
an H200 copies 1.4 times as fast and computes alike. `docs/gpu-log.md` is made of this list and of the committed rows;
the command prints it for its own rows. Nothing here imports torch.
"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from gpu.rows import CHANGED, COPY, DIFFERENT, RATE, SHARE, latest


class Pattern(NamedTuple):
    """Rows by patterns of their case and side, and by their unit."""

    case: str
    side: str
    unit: str

    def matches(self, row: dict) -> bool:
        named = fnmatchcase(row["case"], self.case) and fnmatchcase(row["side"], self.side)
        return named and row["unit"] == self.unit


class Ratio(NamedTuple):
    """The first side over the second, case by case; `case` of the second where it is another one."""

    first: Pattern
    second: str
    case: str | None = None

    @property
    def other(self) -> Pattern:
        return Pattern(self.case or self.first.case, self.second, self.first.unit)


class Goal(NamedTuple):
    """A bound for the worst case, or none."""

    text: str
    holds: Callable[[float], bool] | None = None
    worst: Callable[[Iterable[float]], float] = max


def at_least(bound: float) -> Goal:
    return Goal(f"≥ {bound:,g}", lambda value: value >= bound, min)


def at_most(bound: float) -> Goal:
    return Goal(f"≤ {bound:g}" if bound else "0", lambda value: value <= bound, max)


NO_GOAL = Goal("none")


class Question(NamedTuple):
    """`cuda`: only a GPU run writes rows for it."""

    part: str
    text: str
    of: Pattern | Ratio
    goal: Goal
    predicted: str
    cuda: bool = False

    def uses(self, row: dict) -> bool:
        """Whether a row is part of the answer."""
        patterns = [self.of] if isinstance(self.of, Pattern) else [self.of.first, self.of.other]
        return row["part"] == self.part and any(pattern.matches(row) for pattern in patterns)

    def values(self, rows: list[dict]) -> dict[str, float]:
        """Case -> value; `rows` of one machine."""
        mine = [row for row in rows if row["part"] == self.part and row["value"] is not None]
        if isinstance(self.of, Pattern):
            return {f"{row['case']}, {row['side']}": row["value"] for row in mine if self.of.matches(row)}
        first = {row["case"]: row["value"] for row in mine if self.of.first.matches(row)}
        second = {row["case"]: row["value"] for row in mine if self.of.other.matches(row)}
        pairs = {case: (value, second.get(self.of.case or case)) for case, value in first.items()}
        return {case: value / other for case, (value, other) in pairs.items() if other}

    def answer(self, rows: list[dict]) -> str:
        """The range over its cases, and whether the worst meets the goal; '' without a measurement."""
        found = self.values(rows)
        if not found:
            return ""
        low, high = three_digits(min(found.values())), three_digits(max(found.values()))
        text = low if low == high else f"{low} to {high}"
        text += f" in {len(found)} cases" if len(found) > 1 else ""
        if self.goal.holds is None:
            return text
        worst = self.goal.worst(found.values())
        if self.goal.holds(worst):
            return f"{text}: met"
        where = next(case for case, value in found.items() if value == worst)
        return f"{text}: missed" + (f" ({where})" if len(found) > 1 else "")


def three_digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def engine(case: str, side: str, rate: Goal, predicted: str, share: Goal, predicted_share: str) -> Iterable[Question]:
    """PGD-20 by the engine: its rate, and its share of the matmul rate of its precision."""
    text = f"{case}, {side}" + ("" if "step" in side else ", clean forward and final check included")
    cuda = "fp32" not in side
    yield Question("pgd", f"{text}: image-steps/s", Pattern(case, f"engine {side}", RATE), rate, predicted, cuda)
    pattern = Pattern(case, f"engine {side}", SHARE)
    yield Question("pgd", f"{text}: share of the matmul rate", pattern, share, predicted_share, cuda)


QUESTIONS = [
    # -- correct ------------------------------------------------------------------------------------------------------
    Question("correct", "tests/support/kernel_cases.py: failed cases (all shapes and dtypes, NaN through the clamps)",
             Pattern("*", "*", "failures"), at_most(0), "0"),
    *(Question("correct", f"`{name}`, 32 × 3 × 224²: largest difference from the reference on the GPU and on the CPU",
               Pattern(f"large {name}", "against*", "largest difference"), at_most(bound), predicted)
      for name, bound, predicted in (
          ("linf_step", 0, "0"), ("normalize", 0, "0"), ("apgd_track", 0, "0"),
          ("apgd_step", 1e-5, "1e-6: products are contracted"), ("l2_step", 1e-5, "1e-6: sums in another order"),
          ("start", 1e-5, "1e-6: products are contracted"))),
    Question("correct", "same seed twice, B/32: pixels that differ", Pattern("same seed, B/32*", "*", DIFFERENT),
             at_most(0), "0: nothing is added atomically where all keys of an image fit into one block"),
    Question("correct", "same seed twice, L/14: pixels that differ", Pattern("same seed, L/14*", "*", DIFFERENT),
             NO_GOAL, "fp32 0, fp16 some: flash attention's backward adds blocks of keys atomically"),
    Question("correct", "same seed twice, towers with convolutions: pixels that differ",
             Pattern("same seed, drawn*", "*", DIFFERENT), NO_GOAL, "0, if cuDNN chooses a deterministic backward"),
    Question("correct", "cached features of the original against other batches, relative",
             Pattern("cached features", "*", "relative difference"), at_most(1e-5), "2e-6"),
    Question("correct", "out-of-bounds accesses, by compute-sanitizer", Pattern("memory accesses", "*", "errors"),
             at_most(0), "0", cuda=True),
    # -- chain --------------------------------------------------------------------------------------------------------
    Question("chain", "pretraining of the drawn backbones, batch 128: steps/s",
             Pattern("*, TeCoA", "pretrained", "steps/s"), NO_GOAL, "90"),
    Question("chain", "TeCoA with AMP, batch 100: steps/s", Pattern("*, TeCoA", "fine-tuned", "steps/s"), NO_GOAL,
             "50"),
    Question("chain", "TeCoA with AMP: steps of 100 that the GradScaler skipped",
             Pattern("*", "fine-tuned", "steps skipped by the scaler"), at_most(5), "1"),
    Question("chain", "TeCoA with AMP: last loss over first loss", Pattern("*", "fine-tuned", "of its first loss"),
             at_most(0.95), "0.3"),
    Question("chain", "PGD-20, 1,000 images: share of verdicts that differ from the CPU's",
             Pattern("*pgd against*", "*", CHANGED), at_most(0.005), "fp32 0.001, tf32 and fp16 0.003"),
    Question("chain", "AutoAttack, 200 images: share of verdicts that differ from the CPU's",
             Pattern("*autoattack against*", "*", CHANGED), at_most(0.005), "0"),
    Question("chain", "too little memory for the batch: share of verdicts that change", Pattern("*", "halved", CHANGED),
             at_most(0.005), "0", cuda=True),
    Question("chain", "fine-tuning killed and resumed: largest difference of the weights (0 on a CPU)",
             Pattern("*", "resumed", "largest difference"), at_most(0.01), "1e-3"),
    Question("chain", "the same fine-tuning twice: largest difference of the weights (0 on a CPU)",
             Pattern("*", "second run", "largest difference"), NO_GOAL, "1e-3"),
    Question("chain", "work of a cell of the default config: GPU over one CPU thread",
             Ratio(Pattern("a cell*", "device", "s of work"), "one CPU thread"), NO_GOAL, "0.2"),
    Question("chain", "start of a cell: GPU over CPU (docs/gpus.md: why the default run uses the CPU)",
             Ratio(Pattern("a cell*", "device", "s from start to end of a first attack"), "one CPU thread"), NO_GOAL,
             "2.5"),
    # -- copy ---------------------------------------------------------------------------------------------------------
    Question("copy", "copy on the device, GB/s read and written", Pattern("device copy", "*", "GB/s"), NO_GOAL,
             "3,000"),
    *(Question("copy", f"product of 8192² matrices in {precision}, TFLOP/s",
               Pattern(f"matrix product, {precision}", "*", "TFLOP/s"), NO_GOAL, rate)
      for precision, rate in {"fp16": "750", "bf16": "790", "tf32": "400", "fp32": "51"}.items()),
    # -- kernels ------------------------------------------------------------------------------------------------------
    *(Question("kernels", f"`{op}`, 256 × 3 × 224²: share of the copy's rate", Pattern(f"{op}, 256 *", "triton", COPY),
               goal, predicted)
      for op, goal, predicted in (
          ("linf_step", at_least(0.9), "0.80: 16 scalar loads and divisions a thread"),
          ("apgd_step", NO_GOAL, "0.80"), ("apgd_track", NO_GOAL, "0.85"), ("normalize", NO_GOAL, "0.65"),
          ("start", NO_GOAL, "0.60: hashing"), ("l2_step", NO_GOAL, "0.50: it reads three times"))),
    Question("kernels", "the six kernels, 32 × 3 × 224²: share of the copy's rate",
             Pattern("*, 32 × *", "triton", COPY), NO_GOAL, "0.4 (`l2_step`) to 0.75"),
    Question("kernels", "the six kernels, 512 × 3 × 32²: share of the copy's rate",
             Pattern("*, 512 × *", "triton", COPY), NO_GOAL, "0.25 (`l2_step`: launches) to 0.5"),
    Question("kernels", "rate of Triton over eager PyTorch, all kernels and sizes",
             Ratio(Pattern("*gradient", "triton", COPY), "eager"), at_least(1), "1.5 (`apgd_track`) to 8"),
    Question("kernels", "time of torch.compile over Triton, `linf_step` and `normalize`",
             Ratio(Pattern("*, compiled", "compiled", "ms"), "triton"), at_least(1),
             "0.95 (`linf_step`), 1.0 (`normalize`)"),
    Question("kernels", "projections of FAB and L1: time with a device sync every 8th round (as now) over every round",
             Ratio(Pattern("projection*", "every 8th", "ms"), "every round"), at_most(1), "1.5"),
    Question("kernels", "projections of FAB and L1: time with a device sync every 8th round over none",
             Ratio(Pattern("projection*", "every 8th", "ms"), "never"), at_most(1), "0.4"),
    # -- pgd ----------------------------------------------------------------------------------------------------------
    *engine("B/32, batch 256", "fp16, a step", at_least(22_000), "12,500", at_least(0.5), "0.28: autocast moves 36 GB"),
    *engine("B/32, batch 256", "fp16", NO_GOAL, "9,500", NO_GOAL, "0.23"),
    *engine("B/32, batch 256", "tf32, a step", NO_GOAL, "10,000", NO_GOAL, "0.45"),
    *engine("B/32, batch 256", "tf32", NO_GOAL, "7,500", NO_GOAL, "0.35"),
    *engine("B/32, batch 256", "fp32", NO_GOAL, "2,300", NO_GOAL, "0.85"),
    *engine("L/14, batch 64", "fp16, a step", at_least(1_400), "1,100", at_least(0.6), "0.43"),
    *engine("L/14, batch 64", "fp16", NO_GOAL, "800", NO_GOAL, "0.33"),
    *engine("L/14, batch 64", "tf32, a step", NO_GOAL, "650", NO_GOAL, "0.50"),
    *engine("L/14, batch 64", "tf32", NO_GOAL, "520", NO_GOAL, "0.40"),
    *engine("L/14, batch 64", "fp32", NO_GOAL, "140", NO_GOAL, "0.90"),
    Question("pgd", "tf32 and fp16: share of verdicts that differ from float32's (random weights: small margins)",
             Pattern("*", "engine *", CHANGED), at_most(0.005), "0.01", cuda=True),
    *(Question("pgd", f"{case}, fp16 weights: rate of a CUDA graph over eager launches",
               Ratio(Pattern(f"{case}, by hand", "graph", RATE), "eager"), goal, predicted, cuda=True)
      for case, goal, predicted in (
          ("B/32, batch 32", at_least(1.3), "2.2"), ("L/14, batch 16", NO_GOAL, "1.5"),
          ("B/32, batch 256", NO_GOAL, "1.03"), ("L/14, batch 64", NO_GOAL, "1.0"))),
    Question("pgd", "fp16 weights: pixels of the graph that differ from those of eager launches",
             Pattern("*by hand", "graph", DIFFERENT), at_most(0), "0 (L/14: some)", cuda=True),
    Question("pgd", "fp16 weights, eager launches: share of the matmul rate", Pattern("*by hand", "eager", SHARE),
             NO_GOAL, "B/32 0.33 at 256, 0.12 at 32; L/14 0.45"),
    Question("pgd", "fp16 weights, CUDA graph: share of the matmul rate", Pattern("*by hand", "graph", SHARE),
             NO_GOAL, "B/32 0.34 at 256, 0.27 at 32; L/14 0.45", cuda=True),
    Question("pgd", "B/32, batch 256, fp16 weights: rate of the compiled tower over the eager one",
             Ratio(Pattern("*compiled", "compiled", RATE), "eager"), at_least(1.2), "1.45"),
    Question("pgd", "B/32, batch 256, fp16 weights, compiled tower: share of the matmul rate (eager beside it)",
             Pattern("*compiled", "*", SHARE), NO_GOAL, "0.48 (eager 0.33)"),
    # -- autoattack ---------------------------------------------------------------------------------------------------
    Question("autoattack", "`standard`, shortened: the authors' time in fp32 over ours in fp16",
             Ratio(Pattern("*images", "pyautoattack fp32", "s"), "standard fp16"), at_least(8), "5.7", cuda=True),
    Question("autoattack", "`standard`, shortened: the authors' time in fp32 over ours in fp32",
             Ratio(Pattern("*images", "pyautoattack fp32", "s"), "standard fp32"), at_least(1), "1.3"),
    # -- train --------------------------------------------------------------------------------------------------------
    Question("train", "step over its floor (passes and optimiser alone), 4 methods, 200 and 1,000 classes",
             Ratio(Pattern("*classes", "ours", "ms"), "floor"), at_most(1.05), "1.10"),
    Question("train", "time of the papers' formulation over ours, 1,000 classes",
             Ratio(Pattern("*1000 classes", "papers", "ms"), "ours"), at_least(5), "6 (`tecoa`), 4 (`tga-zsr`)"),
    Question("train", "time of the papers' formulation over ours, 200 classes",
             Ratio(Pattern("*200 classes", "papers", "ms"), "ours"), NO_GOAL, "2"),
    Question("train", "time with Triton over time with the reference in the inner attack",
             Ratio(Pattern("*classes", "ours", "ms"), "reference"), at_most(1), "0.95"),
    Question("train", "peak memory of the papers' formulation over ours",
             Ratio(Pattern("*classes", "papers", "MB"), "ours"), at_least(1), "1.3 (200 classes), 4 (1,000)"),
    Question("train", "peak memory of CAW over PMG-AFT's, 1,000 classes",
             Ratio(Pattern("caw*1000 classes", "ours", "MB"), "ours", "pmg-aft, batch 128, 1000 classes"), at_most(1),
             "0.7"),
    # -- memory -------------------------------------------------------------------------------------------------------
    Question("memory", "PGD, B/32, batch 256: peak memory over torchattacks'",
             Ratio(Pattern("PGD*", "ours", "MB"), "torchattacks"), at_most(1), "0.75, as on a CPU"),
]  # fmt: skip


def table(rows: list[dict]) -> str:
    """Questions with their answers, then what was not measured: for the end of the command."""
    rows = latest(rows)
    lines = ["", "part | question | goal | predicted | measured"]
    if any(row["tiny"] for row in rows):
        lines.insert(1, "A TINY RUN: it shows that everything runs; its numbers mean nothing.")
    for question in QUESTIONS:
        if answer := question.answer(rows):
            about = f"{question.part} | {question.text} | {question.goal.text} | {question.predicted}"
            lines.append(f"{about} | {answer}")
    for row in rows:
        if "error" in row:
            lines.append(
                f"{row['part']} | not measured: {row['case'] or 'the whole part, or its rest'}: {row['error']}"
            )
    return "\n".join(lines)

"""The word-level tokenizer of the embedded benchmark: each line of `words.txt` is a word, its number is the id.

The last line is the end of text: open_clip takes the features at the highest id of a prompt (`pool_type: argmax`).
A plural that is no word itself is its stem and `##s`, so that what is learned of 'circle' holds for 'circles'.
"""

import difflib
from functools import cache
from pathlib import Path

from zsr.errors import ZsrError

WORDS = "words.txt"
PAD, START, END = "<pad>", "<start>", "<end>"


@cache
def vocabulary() -> dict[str, int]:
    """Word -> id."""
    path = Path(__file__).with_name(WORDS)
    words = path.read_text(encoding="utf-8").split()
    if words[0] != PAD or words[-1] != END or len(set(words)) != len(words):
        raise ZsrError(f"{path}: must begin with {PAD}, end with {END}, and name each word once")
    return {word: number for number, word in enumerate(words)}


def tokenize(prompts: list[str], context: int) -> list[list[int]]:
    """Prompts as ids [P, context]: start, words, end, padding. A prompt that does not fit is an error, never cut."""
    rows = []
    for prompt in prompts:
        ids = encode(prompt)
        if len(ids) > context:
            raise ZsrError(f"prompt '{prompt}': {len(ids)} tokens, the text tower takes {context}; shorten it")
        rows.append(ids + [vocabulary()[PAD]] * (context - len(ids)))
    return rows


def encode(prompt: str) -> list[int]:
    """Start, words, end."""
    known = vocabulary()
    return [known[START], *(i for word in prompt.lower().split() for i in _word(word, prompt)), known[END]]


def _word(word: str, prompt: str) -> list[int]:
    known = vocabulary()
    if word in known:
        return [known[word]]
    for ending in ("s", "es"):
        if word.endswith(ending) and word[: -len(ending)] in known:
            return [known[word[: -len(ending)]], known["##s"]]
    near = difflib.get_close_matches(word, [w for w in known if w[0] not in "<#"], n=3, cutoff=0.5)
    hint = f"the nearest are {', '.join(near)}" if near else f"it knows {len(known)} words, see zsr/models/{WORDS}"
    raise ZsrError(f"prompt '{prompt}': the tokenizer does not know the word '{word}'; {hint}")

"""Computes where a learned context is placed in a prompt, and whether it fits; for plan and tower.

M learned vectors follow the start token. They take the place of the words that the prompt shares with the words they
were initialised from ("a photo of a {}" under "a photo of a": the first M); what they do not replace they push along.
So M = 2 leaves "of a circle" as words, and M = 16 without initial words stands before the class name (CoOp).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from zsr.errors import ZsrError
from zsr.models import word_tokenizer

OWN = "dataset"  # the `template` of a method that keeps each dataset's own


def replaced(init: list[int], opening: list[int], learned: int) -> int:
    """How many words of a prompt's opening the learned vectors stand for."""
    same = 0
    while same < min(len(init), len(opening), learned) and init[same] == opening[same]:
        same += 1
    return same


def opening(template: str) -> str:
    """A template's words before the class name."""
    return template.partition("{}")[0].strip()


def templates_of(template: str, own: Sequence[str]) -> list[str]:
    """What prompts are made of: a method's one template for all datasets, or each dataset's own."""
    return list(own) if template == OWN else [template]


def check_context(
    arch: dict | None, settings: Mapping[str, Any], classes: Sequence[str], own: Sequence[str], where: str
) -> None:
    """One line, before any job runs, for the first class whose prompt is too long with the learned context."""
    if settings["template"] != OWN and settings["template"].count("{}") != 1:
        raise ZsrError(f"{where}.settings.template: '{settings['template']}' must hold {{}} once, or be '{OWN}'")
    if settings["tokens"] < 0:
        raise ZsrError(f"{where}.settings.tokens: {settings['tokens']} is less than 0")
    if arch is None or arch["tokenizer"] != "words":
        return  # its tokenizer is heavy: the job checks before its first step
    room, learned = arch["text_cfg"]["context_length"], settings["tokens"]
    init = word_tokenizer.encode(settings["init"])[1:-1]
    for template in templates_of(settings["template"], own):
        more = learned - replaced(init, word_tokenizer.encode(opening(template))[1:-1], learned)
        for name in classes:
            prompt = template.replace("{}", name)
            check_length(prompt, len(word_tokenizer.encode(prompt)) + more, learned, room, where)


def check_length(prompt: str, length: int, learned: int, room: int, where: str) -> None:
    """Refuse a prompt that is longer than the text tower takes."""
    if length > room:
        raise ZsrError(
            f"{where}: '{prompt}' with {learned} learned vectors is {length} tokens, the text tower takes {room}; take "
            "fewer (`tokens`) or shorten the name"
        )


def check_depth(arch: dict | None, settings: Mapping[str, Any], where: str) -> None:
    """One line for prompts in more layers than the towers have."""
    if arch is None:
        return  # a hub model whose config nobody has read yet: the job looks
    towers = arch.get("model", arch)
    layers = min(towers["text_cfg"]["layers"], towers["vision_cfg"]["layers"])
    if not 0 <= settings["depth"] <= layers:
        raise ZsrError(
            f"{where}.settings.depth: {settings['depth']} layers with prompts, the towers share {layers}; 0 is three "
            "quarters of them"
        )

"""Partial fine-tuning with TeCoA's loss: only the end of the image tower trains (Mao et al., ICLR 2023, figure 6b).

The authors train the last k tensors of `visual.parameters()`, k chosen so that there are as many numbers as in a visual
prompt; k itself is not given. In the order of OpenAI's module the last five of ViT-B/32 are ln_post, the last block's
ln_2 and the bias of mlp.c_proj: 5 × 768 numbers, exactly a prompt of five tokens, so k = 5 (reconstruction). Robust
accuracy over 16 sets stays at 6.47, CLIP's own: too few numbers at 1e-5. open_clip registers the layers of a block in
another order; they are put back into OpenAI's here, or k would mean other tensors.

`block: true` trains the whole last block with what follows it (ViT: the last residual block, ln_post, proj; ResNet: the
last bottleneck and the attention pool), as a control that has a chance. In a tower with BatchNorm the running
statistics move also where nothing trains; `recipe: {batchnorm: eval}` keeps them.
"""

from dataclasses import dataclass

from torch import nn

from zsr.errors import ZsrError
from zsr.methods.core.task import Task
from zsr.methods.tecoa import TeCoA

BLOCK_ORDER = ("attn", "ln_1", "mlp", "ln_2")  # a residual block in OpenAI's CLIP; open_clip has ln_1, attn, ln_2, mlp


@dataclass(frozen=True)
class TeCoAPartial(TeCoA):
    """TeCoA, training the last tensors or the last block only."""

    tensors: int = 5  # k
    block: bool = False  # the last block in place of the last k tensors

    def check(self, task: Task) -> None:
        count = len(list(task.visual.parameters()))
        if not self.block and not 1 <= self.tensors <= count:
            raise ZsrError(f"tecoa-partial: tensors is {self.tensors}, the image tower has 1 to {count}")

    def trainable(self, visual: nn.Module) -> list[str]:
        names = openai_order([name for name, _ in visual.named_parameters()])
        if not self.block:
            return names[-self.tensors :]
        ends = last_block(names)
        return [name for name in names if name.startswith(ends)]


def openai_order(names: list[str]) -> list[str]:
    """The order of OpenAI's towers; only the inside of a transformer's blocks differs from open_clip's."""

    def rank(numbered: tuple[int, str]) -> tuple[int, int, int]:
        number, name = numbered
        parts = name.split(".")
        if parts[:2] != ["transformer", "resblocks"]:
            return number, 0, 0
        first = next(i for i, other in enumerate(names) if other.startswith(f"transformer.resblocks.{parts[2]}."))
        part = BLOCK_ORDER.index(parts[3]) if parts[3] in BLOCK_ORDER else len(BLOCK_ORDER)
        return first, part, number

    return [name for _, name in sorted(enumerate(names), key=rank)]


def last_block(names: list[str]) -> tuple[str, ...]:
    """Prefixes of the last block and of all that comes after it."""
    for stem, after in (("transformer.resblocks.", ("ln_post.", "proj")), ("layer4.", ("attnpool.",))):
        numbers = [int(name[len(stem) :].split(".")[0]) for name in names if name.startswith(stem)]
        if numbers:
            return (f"{stem}{max(numbers)}.", *after)
    raise ZsrError("tecoa-partial: block: true knows the towers VisionTransformer and ModifiedResNet; set tensors")

"""Class names and templates become class embeddings: one unit vector per class, the mean over its templates."""

import torch
import torch.nn.functional as F
from torch import Tensor

from zsr.errors import ZsrError
from zsr.models.backbone import Backbone


def class_embeddings(backbone: Backbone, classes: list[str], templates: list[str]) -> Tensor:
    """t_c = normalise(mean over templates of normalise(g(template(c)))) [C, D], float32 on the CPU.

    Classes whose prompts the tokenizer cannot tell apart would be decided by rounding: that is an error.
    """
    vectors = []
    with torch.no_grad():
        for name in classes:
            prompts = [template.replace("{}", name) for template in templates]
            vectors.append(F.normalize(F.normalize(backbone.encode_text(prompts).float(), dim=1).mean(0), dim=0))
    head = torch.stack(vectors).cpu()
    check_distinct(head, classes)
    return head


def check_distinct(head: Tensor, classes: list[str]) -> None:
    """Two classes with one embedding are an error."""
    for i in range(len(classes)):
        same = (head[i + 1 :] == head[i]).all(1).nonzero()
        if len(same):
            other = classes[i + 1 + int(same[0])]
            raise ZsrError(f"the classes '{classes[i]}' and '{other}' have the same embedding; rename one")


def nearest_cosine(head: Tensor) -> float:
    """How alike the two classes are that are hardest to tell apart."""
    if len(head) < 2:
        return 0.0
    unit = F.normalize(head, dim=1)
    return round((unit @ unit.T).fill_diagonal_(-1).max().item(), 4)

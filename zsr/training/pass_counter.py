"""How often a training sends an image through the image tower: the share of its cost that no machine changes.

Counted where images pass, not derived from formulas: hooks on one layer of the tower and of the frozen original, the
first block of a transformer (behind the places where prompts enter) or the first layer with weights of any other tower.
"""

from torch import Tensor, nn

from zsr.methods.core.task import Task


class Passes:
    """Counts images from the moment it is made; `per_image` ends the count."""

    def __init__(self, task: Task) -> None:
        self.counts = dict.fromkeys(("forward", "backward", "original"), 0)
        student = first_layer(task.tower)

        def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            # the original is a copy of the student, made when first asked for: the hook goes with it
            images = len(output)  # a hook that held the output itself would keep every step's graph in memory
            self.counts["forward" if module is student else "original"] += images
            if output.requires_grad:
                output.register_hook(lambda gradient: self._backward(images))

        towers = {student, first_layer(vars(task).get("frozen", task.tower))}  # `frozen` may have been made before
        if task.teacher is not None:
            towers.add(first_layer(getattr(task.teacher, "visual", task.teacher)))  # a method may have wrapped it
        self.hooks = [layer.register_forward_hook(count) for layer in towers]

    def _backward(self, images: int) -> None:
        self.counts["backward"] += images

    def per_image(self, images: int) -> dict[str, float]:
        """Passes for each of the images that a training has seen: the student's both ways, its teachers' one."""
        for hook in self.hooks:
            hook.remove()
        return {name: round(count / max(images, 1), 3) for name, count in self.counts.items()}


def first_layer(tower: nn.Module) -> nn.Module:
    """What every image passes once in a forward, batch first."""
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
    if blocks is not None:
        return blocks[0]
    return next(m for m in tower.modules() if next(m.parameters(recurse=False), None) is not None)

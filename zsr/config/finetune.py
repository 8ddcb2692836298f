"""Fine-tuning as the config means it: `finetune` for all models, and what one model changes of it."""

from zsr.config.datasets import need_split, transform_of
from zsr.config.entries import DatasetDefinition, Datasets, FineTune, Settings, SourceSet, Written
from zsr.config.settings import recipe_of
from zsr.epsilon import eps_of
from zsr.errors import ZsrError


def complete_finetune(written: Written, datasets: Datasets) -> FineTune:
    """The ε and the source set of a model that sets none of its own; the recipe is checked, and kept as written."""
    eps = eps_of(written["eps"], "finetune.eps")
    rest = {key: value for key, value in written.items() if key != "eps"}
    source_set, _ = training_of(rest, {}, datasets, "finetune")
    return FineTune(eps, source_set, rest)


def training_of(written: Written, changes: Written, datasets: Datasets, where: str) -> tuple[SourceSet, Settings]:
    """(source set, recipe) of one model: `finetune`, with the model's own keys over it."""
    merged = {**written, **changes}
    name, split, transform = merged.pop("dataset"), merged.pop("split"), merged.pop("transform")
    definition = datasets[name]
    size = need_split(definition, split, f"{where}.split")
    transform = transform_of(definition, transform, f"{where}.transform ('{name}')")
    recipe = recipe_of("recipe.py", "Recipe", merged, where)
    _check_shots(recipe, definition, size, where)
    batch, processes = recipe["batch"], recipe["processes"]
    if batch % processes:
        raise ZsrError(f"{where}.processes: a batch of {batch} cannot be split into {processes} equal parts")
    return SourceSet(name, split, transform), recipe


def _check_shots(recipe: Settings, definition: DatasetDefinition, size: int, where: str) -> None:
    """What can be known before the labels are: the job itself looks at each class."""
    shots, classes, name = recipe["shots"], len(definition.classes), definition.name
    if not shots:
        return
    if recipe["images"]:
        raise ZsrError(f"{where}: images and shots are both set; take one of them out")
    if not definition.labelled or not classes:
        raise ZsrError(f"{where}.shots: '{name}' has no labels to draw images of each class by; take out shots")
    if shots * classes > size:
        raise ZsrError(
            f"{where}.shots: {shots} of each of {classes} classes are more than the {size} images of '{name}'; ask "
            f"for at most {size // classes}"
        )

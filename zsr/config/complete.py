"""From the text of a config to a complete, checked one: defaults filled in, every mistake one line with its cure.

The JSON schema (workflow/schemas/config.schema.yaml) knows the shape; the names and settings of methods, attacks and
readers are known from their files (`zsr.registry`), recipes from their dataclasses. Nothing here imports torch.
"""

from zsr import registry
from zsr.config import lineage, protocols
from zsr.config.backbones import complete_backbone, complete_published
from zsr.config.datasets import datasets_used, definition, need_split
from zsr.config.pretraining import check_teachers
from zsr.config.schema import check_schema
from zsr.config.settings import check_recipe, settings_of
from zsr.config.text import read as read
from zsr.config.values import plain_copy
from zsr.data import transforms
from zsr.epsilon import eps_of
from zsr.errors import ZsrError, short, unknown
from zsr.models.catalogue import needs_tower, needs_words
from zsr.models.prompt_length import check_depth
from zsr.registry import PACKAGE
from zsr.storage.results_folder import results_folder


def complete(raw: dict) -> dict:
    """Check a config and fill in every default; the argument is left as it is."""
    config = plain_copy(raw)
    protocols.fill_in(config)
    check_schema(config)
    config["results"] = results_folder(config["results"])
    _check_unique(config)
    config["datasets"] = {name: definition(config, name, where) for name, where in datasets_used(config).items()}
    for i, backbone in enumerate(config["backbones"]):
        complete_backbone(config, backbone, f"backbones[{i}] '{backbone['name']}'")
    check_teachers(config["backbones"])
    _complete_finetune(config)
    for i, model in enumerate(config["models"]):
        _complete_model(config, model, f"models[{i}] '{model['name']}'")
    config["models"] = lineage.settle(config["models"])
    for i, protocol in enumerate(config["protocols"]):
        protocols.complete(config, protocol, f"protocols[{i}] '{protocol['name']}'")
    _check_readouts(config)
    return config


def _check_unique(config: dict) -> None:
    lists = [("backbones", config["backbones"]), ("models", config["models"]), ("data", config["data"])]
    lists += [("protocols", config["protocols"])]
    lists += [(f"protocols '{p['name']}' attacks", p["attacks"]) for p in config["protocols"]]
    for where, entries in lists:
        seen: set[str] = set()
        for entry in entries:
            if entry["name"] in seen:
                raise ZsrError(f"{where}: the name '{entry['name']}' stands twice; give each entry its own")
            seen.add(entry["name"])


def _complete_finetune(config: dict) -> None:
    given = config["finetune"]
    config["finetune"] = {
        "eps": eps_of(given["eps"], "finetune.eps"),
        "given": {k: v for k, v in given.items() if k != "eps"},
    }
    _recipe(config, {}, "finetune")


def _recipe(config: dict, over: dict, where: str) -> dict:
    """The training recipe of one model: `finetune`, with the model's own keys over it."""
    merged = {**config["finetune"]["given"], **over}
    dataset, split, transform = merged.pop("dataset"), merged.pop("split"), merged.pop("transform")
    size = need_split(config, dataset, split, f"{where}.split")
    transform = transforms.choose(transform, config["datasets"][dataset], f"{where}.transform ('{dataset}')")
    recipe = check_recipe(registry.fields_of(PACKAGE / "training" / "recipe.py", "Recipe"), merged, where)
    _check_shots(recipe, config["datasets"][dataset], dataset, size, where)
    batch, processes = recipe["batch"], recipe["processes"]
    if batch % processes:
        raise ZsrError(f"{where}.processes: a batch of {batch} cannot be split into {processes} equal parts")
    return {"dataset": dataset, "split": split, "transform": transform, "recipe": recipe}


def _check_shots(recipe: dict, about: dict, dataset: str, size: int, where: str) -> None:
    """What can be known before the labels are: the job itself looks at each class."""
    shots, classes = recipe["shots"], len(about["classes"])
    if not shots:
        return
    if recipe["images"]:
        raise ZsrError(f"{where}: images and shots are both set; take one of them out")
    if not about["labelled"] or not classes:
        raise ZsrError(f"{where}.shots: '{dataset}' has no labels to draw images of each class by; take out shots")
    if shots * classes > size:
        raise ZsrError(
            f"{where}.shots: {shots} of each of {classes} classes are more than the {size} images of '{dataset}'; ask "
            f"for at most {size // classes}"
        )


def _complete_model(config: dict, model: dict, where: str) -> None:
    known = {backbone["name"]: backbone["definition"] for backbone in config["backbones"]}
    for name in model.get("backbones", []):
        if name not in known:
            raise unknown("backbone", name, known, f"{where}.backbones")
    lineage.check_shape(model, where)
    if "interpolate" in model:
        return  # the rest comes from its ends
    model.setdefault("backbones", list(known))
    model["settings"] = settings_of("methods", model["method"], model["settings"], where)
    constants = registry.describe("methods", model["method"]).constants
    template = model["settings"].get("template", "{}")
    if "{}" not in template and not constants["trains_text"]:  # those of learned prompts: check_context
        raise ZsrError(f"{where}.settings.template: {short(repr(template))} has no place {{}} for the class name")
    if constants["needs_teacher"] and "teacher" not in model:
        raise ZsrError(f"{where}: '{model['method']}' learns from a second model; name one of the config as `teacher`")
    if "teacher" in model and not constants["needs_teacher"]:
        raise ZsrError(f"{where}: '{model['method']}' takes no teacher; take out `teacher`")
    for name in model["backbones"]:
        if name not in known:
            raise unknown("backbone", name, known, f"{where}.backbones")
        if constants["needs_tokens"] and (why := needs_tower(known[name])):
            raise ZsrError(
                f"{where}: '{model['method']}' needs a VisionTransformer, '{name}' {why}; name the others in "
                "`backbones`"
            )
        if constants["trains_text"] and (why := needs_words(known[name])):
            raise ZsrError(
                f"{where}: '{model['method']}' learns words of CLIP's text tower, '{name}' {why}; name the others in "
                "`backbones`"
            )
        if "depth" in model["settings"]:
            check_depth(known[name], model["settings"], where)
    model["trains"], model["trains_text"] = constants["trains"], constants["trains_text"]
    model["attacked"] = _attacked(model, constants)
    if not model["trains"] and ("eps" in model or model["recipe"] or "seeds" in model):
        raise ZsrError(f"{where}: '{model['method']}' does not train; take out its eps, seeds and recipe")
    model.setdefault("seeds", [config["seed"]])
    model["eps"] = eps_of(model["eps"], f"{where}.eps") if "eps" in model else config["finetune"]["eps"]
    model["source"] = _recipe(config, model.pop("recipe"), f"{where}.recipe")
    if model["method"] == "published":
        complete_published(config, model, where)
    if model["trains"]:
        _check_source(config, model, constants, where)


def _attacked(model: dict, constants: dict) -> bool:
    """Whether it trains on adversarial images; prompts do what the method does whose loss is their `criterion`."""
    criterion = model["settings"].get("criterion")
    if criterion in registry.names("methods"):
        constants = registry.describe("methods", criterion).constants
    return constants["attacked"]


def _check_source(config: dict, model: dict, constants: dict, where: str) -> None:
    """Whether the source set has what the method needs of it."""
    dataset = model["source"]["dataset"]
    about = config["datasets"][dataset]
    if constants["needs_classes"] and not about["classes"]:
        raise ZsrError(
            f"{where}: '{model['method']}' compares images with class texts, the source dataset '{dataset}' has no "
            "classes; give it `classes` (and `labelled: false`), or take a method that needs none (fare)"
        )
    if constants["needs_labels"] and not about["labelled"]:
        raise ZsrError(
            f"{where}: '{model['method']}' needs labels, the source dataset '{dataset}' has none; take a method that "
            "needs none (tecoa-pseudo, agft, fare, …)"
        )
    if not constants["zero_shot"]:  # its read-out has one output per class of the source
        given = model["settings"]["classes"]
        if given not in (0, len(about["classes"])):
            raise ZsrError(f"{where}: classes is {given}, '{dataset}' has {len(about['classes'])}; leave it out")
        model["settings"]["classes"] = len(about["classes"])


def can_classify(config: dict, model: dict, dataset: str) -> bool:
    """A model that is not zero-shot knows the classes it was trained on, in their order, and no others."""
    classes = config["datasets"][dataset]["classes"]
    return model["zero_shot"] or classes == config["datasets"][model["source"]["dataset"]]["classes"]


def _check_readouts(config: dict) -> None:
    asked = {name for protocol in config["protocols"] for name in protocol["datasets"]}
    for model in config["models"]:
        if not any(can_classify(config, model, name) for name in asked):
            raise ZsrError(
                f"models '{model['name']}': '{model['method']}' is not zero-shot, and no protocol has a set with the "
                f"classes of '{model['source']['dataset']}', which it trains on; set `recipe: {{dataset: …}}`"
            )

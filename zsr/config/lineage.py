"""Models that come from other models of the config: a teacher, a tower to start from, two ends whose weights are mixed.

An entry with `interpolate` stands for one model per alpha. What such a model was trained on, with which ε and which
seeds, is what its ends were trained on; a student was also trained on what its teacher has seen, and one with `start`
on what that model has seen. Nothing here imports torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from zsr.config.entries import Interpolation, ModelEntry, Written
from zsr.config.method_traits import traits_of
from zsr.config.values import refuse_twice
from zsr.errors import ZsrError, unknown

INTERPOLATION = "interpolation"  # stands as method in tables and report; no file in zsr/methods/ makes such a model
GIVEN = {"name", "interpolate", "backbones"}  # what the config may say of it


class Mixture(NamedTuple):
    """An interpolation whose ends are not settled yet."""

    name: str
    interpolation: Interpolation
    backbones: tuple[str, ...] | None  # None: those that both ends have


Part = ModelEntry | Mixture


def check_shape(entry: Written, where: str) -> None:
    """An entry has a method, or it is an interpolation that leaves all else to its ends."""
    if "interpolate" not in entry:
        if "method" not in entry:
            raise ZsrError(f"{where}: the key 'method' is missing")
        return
    extra = sorted(key for key in entry.keys() - GIVEN if entry[key] not in ({}, None))
    if extra:
        raise ZsrError(f"{where}: an interpolation is given by its ends and has no '{extra[0]}'; take it out")


def mixtures(entry: Written) -> Iterator[Mixture]:
    """The models of an interpolation, one for each alpha."""
    base, mix = entry["name"], entry["interpolate"]
    backbones = tuple(entry["backbones"]) if "backbones" in entry else None
    for alpha in mix["alpha"]:
        share = _percent(alpha, f"{_where(base)}.interpolate.alpha")
        interpolation = Interpolation(base, mix["from"], mix["to"], float(alpha), share)
        yield Mixture(f"{base}-a{share}", interpolation, backbones)


def _percent(alpha: float, where: str) -> int:
    """0.25 -> 25: names have no dots."""
    found = Fraction(str(alpha)) * 100
    if found.denominator != 1:
        raise ZsrError(f"{where}: {alpha} is no whole percent; write 0.25, 0.5, …")
    return int(found)


def seed_of(model: ModelEntry, seed: int) -> int:
    """The seed of a model that another one with this seed comes from: the same, or its first."""
    return seed if seed in model.seeds else model.seeds[0]


def settle(parts: Sequence[Part]) -> dict[str, ModelEntry]:
    """All models by name, each with what it takes from those that it comes from."""
    refuse_twice([part.name for part in parts], "models")
    known = {part.name: part for part in parts}
    settled: dict[str, ModelEntry] = {}
    for part in parts:
        _settle(part, known, settled, ())
    return {name: settled[name] for name in known}


def _settle(
    part: Part, known: Mapping[str, Part], settled: dict[str, ModelEntry], above: tuple[str, ...]
) -> ModelEntry:
    """One model, after those that it comes from; each is added to `settled`."""
    if part.name in above:
        chain = " <- ".join([*above[above.index(part.name) :], part.name])
        raise ZsrError(f"{_where(part.name)}: comes from itself ({chain}); name a model that is made before it")
    if part.name in settled:
        return settled[part.name]
    parents: dict[str, ModelEntry] = {}
    for role, name in _parents(part).items():
        if name not in known:
            raise unknown("model", name, known, f"{_where(part.name)}.{role}")
        parents[role] = _settle(known[name], known, settled, (*above, part.name))
        _check_parent(part, role, parents[role])
    model = _mixed(part, *parents.values()) if isinstance(part, Mixture) else part
    for role, parent in parents.items():
        _check_backbones(model, role, parent)
    inherited = [name for parent in parents.values() if parent.trains for name in parent.seen_sets]
    settled[part.name] = replace(model, seen_sets=tuple(dict.fromkeys([*model.seen_sets, *inherited])))
    return settled[part.name]


def _parents(part: Part) -> dict[str, str]:
    """role -> the model that a model comes from."""
    if isinstance(part, Mixture):
        return {"interpolate.from": part.interpolation.start, "interpolate.to": part.interpolation.end}
    return {role: name for role, name in (("teacher", part.teacher), ("start", part.start)) if name is not None}


def _check_parent(part: Part, role: str, parent: ModelEntry) -> None:
    """Whether a model can teach, be mixed or be started from."""
    where = f"{_where(part.name)}.{role}"
    if not parent.zero_shot:
        raise ZsrError(
            f"{where}: '{parent.name}' is not zero-shot: it has a read-out for its own classes alone; name another "
            "model"
        )
    if parent.trains_text:
        raise ZsrError(
            f"{where}: '{parent.name}' ({parent.method}) has class embeddings of its own, which neither teach nor mix; "
            "name a model that leaves the text tower alone"
        )
    if isinstance(part, ModelEntry) and role == "start":
        _check_start(part, parent)
    elif parent.start is not None:
        raise ZsrError(
            f"{where}: '{parent.name}' starts from '{parent.start}', so that it is no model of the backbone itself, "
            "and only those teach or mix; name one without `start`"
        )


def _check_start(model: ModelEntry, start: ModelEntry) -> None:
    """What becomes a backbone is a tower of the backbone's own tensors, and nothing else of it is taken."""
    if not model.trains:
        raise ZsrError(f"{_where(model.name)}: '{model.method}' does not train; take out `start`")
    if model.teacher is not None:
        raise ZsrError(
            f"{_where(model.name)}: a teacher and its student have one backbone; take out `start` or `teacher`"
        )
    if traits_of(start.opened_by).own_tensors:
        raise ZsrError(
            f"{_where(model.name)}.start: '{start.name}' ({start.method}) adds tensors to its tower, which no other "
            "method can build on; name a model that trains the tower itself"
        )


def _check_backbones(model: ModelEntry, role: str, parent: ModelEntry) -> None:
    for name in model.backbones:
        if name not in parent.backbones:
            raise ZsrError(
                f"{_where(model.name)}.{role}: '{parent.name}' is not made on backbone '{name}' (only on "
                f"{', '.join(parent.backbones)}), and weights of another architecture do not fit; name other "
                "`backbones`"
            )


def _mixed(part: Mixture, start: ModelEntry, end: ModelEntry) -> ModelEntry:
    """What an interpolation takes from its ends; where it can have but one value, from the one that trained."""
    where = f"{_where(part.name)}.interpolate"
    own = [traits_of(model.opened_by).own_tensors for model in (start, end)]
    if any(own) and not (start.opened_by == end.opened_by and start.settings == end.settings):
        raise ZsrError(
            f"{where}: '{start.name}' ({start.method}) and '{end.name}' ({end.method}) have other tensors than each "
            "other; take two models whose methods add none, or two of one method with equal settings"
        )
    backbones = part.backbones or tuple(name for name in start.backbones if name in end.backbones)
    if not backbones:
        raise ZsrError(
            f"{where}: '{start.name}' and '{end.name}' share no backbone; weights of another architecture do not fit"
        )
    main = end if end.trains or not start.trains else start
    return ModelEntry(
        name=part.name,
        method=INTERPOLATION,
        opened_by=main.opened_by if any(own) else "clip",  # a plain tower: any method without own tensors opens it
        settings=main.settings if any(own) else {},
        backbones=backbones,
        seeds=main.seeds,
        eps=main.eps,
        source_set=main.source_set,
        recipe=main.recipe,
        seen_sets=main.seen_sets,
        trains=main.trains,
        trains_text=False,
        attacked=any(model.trains and model.attacked for model in (start, end)),
        zero_shot=True,
        interpolation=part.interpolation,
    )


def _where(name: str) -> str:
    return f"models '{name}'"

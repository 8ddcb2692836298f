"""Models that come from other models of the config: a teacher, a tower to start from, two ends whose weights are mixed.

An entry with `interpolate` stands for one model per alpha. What such a model was trained on, with which ε and which
seeds, is what its ends were trained on; a student was also trained on what its teacher has seen, and one with `start`
on what that model has seen. Nothing here imports torch.
"""

from collections.abc import Iterator
from fractions import Fraction

from zsr.errors import ZsrError, unknown
from zsr.registry import describe

INTERPOLATION = "interpolation"  # stands as method in tables and report; no file in zsr/methods/ makes such a model
GIVEN = {"name", "interpolate", "backbones"}  # what the config may say of it


def check_shape(model: dict, where: str) -> None:
    """An entry has a method, or it is an interpolation that leaves all else to its ends."""
    if "interpolate" not in model:
        if "method" not in model:
            raise ZsrError(f"{where}: the key 'method' is missing")
        return
    extra = sorted(key for key in model.keys() - GIVEN if model[key] not in ({}, None))
    if extra:
        raise ZsrError(f"{where}: an interpolation is given by its ends and has no '{extra[0]}'; take it out")


def settle(models: list[dict]) -> list[dict]:
    """One entry per model, with what it inherits: `loads` (the method that opens its weights), `sources`, seeds, …"""
    expanded = [one for model in models for one in _expand(model)]
    known: dict[str, dict] = {}
    for entry in expanded:
        if entry["name"] in known:
            raise ZsrError(f"models: the name '{entry['name']}' stands twice; give each entry its own")
        known[entry["name"]] = entry
    for entry in expanded:
        _settle(entry, known, ())
    return expanded


def seed_of(entry: dict, seed: int) -> int:
    """The seed of a model that another one with this seed comes from: the same, or its first."""
    return seed if seed in entry["seeds"] else entry["seeds"][0]


def percent(alpha: float, where: str) -> int:
    """0.25 -> 25: names have no dots."""
    found = Fraction(str(alpha)) * 100
    if found.denominator != 1:
        raise ZsrError(f"{where}: {alpha} is no whole percent; write 0.25, 0.5, …")
    return int(found)


def _expand(model: dict) -> Iterator[dict]:
    if "interpolate" not in model:
        yield model
        return
    mix = model["interpolate"]
    for alpha in mix["alpha"]:
        name = f"{model['name']}-a{percent(alpha, _where(model) + '.interpolate.alpha')}"
        yield {**model, "name": name, "base": model["name"], "interpolate": {**mix, "alpha": alpha}}


def _parents(entry: dict) -> dict[str, str]:
    """role -> the model that the entry comes from."""
    if "interpolate" in entry:
        return {f"interpolate.{end}": entry["interpolate"][end] for end in ("from", "to")}
    return {role: entry[role] for role in ("teacher", "start") if role in entry}


def _settle(entry: dict, known: dict[str, dict], above: tuple[str, ...]) -> None:
    if entry["name"] in above:
        chain = " <- ".join([*above[above.index(entry["name"]) :], entry["name"]])
        raise ZsrError(f"{_where(entry)}: comes from itself ({chain}); name a model that is made before it")
    if "loads" in entry:
        return
    parents = {}
    for role, name in _parents(entry).items():
        if name not in known:
            raise unknown("model", name, known, f"{_where(entry)}.{role}")
        parents[role] = known[name]
        _settle(known[name], known, (*above, entry["name"]))
        if not known[name]["zero_shot"]:
            raise ZsrError(
                f"{_where(entry)}.{role}: '{name}' is not zero-shot: it has a read-out for its own classes alone; "
                "name another model"
            )
        if known[name]["trains_text"]:
            raise ZsrError(
                f"{_where(entry)}.{role}: '{name}' ({known[name]['method']}) has class embeddings of its own, which "
                "neither teach nor mix; name a model that leaves the text tower alone"
            )
        if role == "start":
            _check_start(entry, known[name])
        elif "start" in known[name]:
            raise ZsrError(
                f"{_where(entry)}.{role}: '{name}' starts from '{known[name]['start']}', so that it is no model of the "
                "backbone itself, and only those teach or mix; name one without `start`"
            )
    if "interpolate" in entry:
        _join(entry, *parents.values())
    else:
        entry["loads"] = entry["method"]
        entry["sources"] = [entry["source"]["dataset"]]
        entry["zero_shot"] = describe("methods", entry["method"]).constants["zero_shot"]
    entry["sources"] += [s for p in parents.values() if p["trains"] for s in p["sources"] if s not in entry["sources"]]
    for role, parent in parents.items():
        for name in entry["backbones"]:
            if name not in parent["backbones"]:
                raise ZsrError(
                    f"{_where(entry)}.{role}: '{parent['name']}' is not made on backbone '{name}' (only on "
                    f"{', '.join(parent['backbones'])}), and weights of another architecture do not fit; name other "
                    "`backbones`"
                )


def _check_start(entry: dict, start: dict) -> None:
    """What becomes a backbone is a tower of the backbone's own tensors, and nothing else of it is taken."""
    if not entry["trains"]:
        raise ZsrError(f"{_where(entry)}: '{entry['method']}' does not train; take out `start`")
    if "teacher" in entry:
        raise ZsrError(f"{_where(entry)}: a teacher and its student have one backbone; take out `start` or `teacher`")
    if describe("methods", start["loads"]).constants["own_tensors"]:
        raise ZsrError(
            f"{_where(entry)}.start: '{start['name']}' ({start['method']}) adds tensors to its tower, which no other "
            "method can build on; name a model that trains the tower itself"
        )


def _join(entry: dict, start: dict, end: dict) -> None:
    """What an interpolation takes from its ends; where it can have but one value, from the one that trained."""
    own = [describe("methods", one["loads"]).constants["own_tensors"] for one in (start, end)]
    same = start["loads"] == end["loads"] and start["settings"] == end["settings"]
    if any(own) and not same:
        raise ZsrError(
            f"{_where(entry)}.interpolate: '{start['name']}' ({start['method']}) and '{end['name']}' ({end['method']}) "
            "have other tensors than each other; take two models whose methods add none, or two of one method with "
            "equal settings"
        )
    main = end if end["trains"] or not start["trains"] else start
    entry.setdefault("backbones", [name for name in start["backbones"] if name in end["backbones"]])
    if not entry["backbones"]:
        raise ZsrError(
            f"{_where(entry)}.interpolate: '{start['name']}' and '{end['name']}' share no backbone; weights of "
            "another architecture do not fit"
        )
    entry |= {"method": INTERPOLATION, "loads": main["loads"], "settings": main["settings"], "zero_shot": True}
    entry["trains_text"] = False
    if not any(own):  # a plain tower: any method without tensors of its own opens it
        entry |= {"loads": "clip", "settings": {}}
    entry |= {key: main[key] for key in ("trains", "seeds", "eps", "source")}
    entry["attacked"] = any(one["trains"] and one["attacked"] for one in (start, end))
    entry["sources"] = list(main["sources"])


def _where(entry: dict) -> str:
    return f"models '{entry['name']}'"

"""The keys that tables are grouped by, each with a name for its parts.

A key is a tuple, so a group of pandas becomes one by `Row(*group)`, and its fields are the names of the columns.
"""

from typing import NamedTuple

QUANTITIES = ("clean", "robust")  # the two accuracies of every line


class ModelKey(NamedTuple):
    """A model with all of its seeds, by the names of the config."""

    protocol: str
    backbone: str
    name: str
    train_eps: str


class Condition(NamedTuple):
    """One attack at one ε in one protocol: all models are compared on the same sets under it."""

    protocol: str
    attack: str
    eps: str

    @classmethod
    def clean(cls, protocol: str) -> "Condition":
        """The condition without an attack, which clean accuracy belongs to."""
        return cls(protocol, "", "0")


class Row(NamedTuple):
    """One model under one condition; `model` is its name in the report."""

    protocol: str
    backbone: str
    model: str
    attack: str
    eps: str

    @property
    def condition(self) -> Condition:
        return Condition(self.protocol, self.attack, self.eps)


class Table(NamedTuple):
    """One table of the report: models of one backbone, compared in one quantity under one condition."""

    protocol: str
    backbone: str
    quantity: str
    attack: str  # '' and ε '0' where the quantity is 'clean'
    eps: str

    @property
    def condition(self) -> Condition:
        return Condition(self.protocol, self.attack, self.eps)


class Column(NamedTuple):
    """One column of a table: a set (scope 'set'), or a mean over sets, which has no dataset."""

    protocol: str
    backbone: str
    quantity: str
    attack: str
    eps: str
    scope: str
    dataset: str


Labels = dict[ModelKey, str]  # the name of each model in the report
Scopes = dict[Condition, dict[str, list[str]]]  # the sets that each mean runs over: {'zero-shot': [sets], …}

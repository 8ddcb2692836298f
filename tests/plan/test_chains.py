"""A cell that follows others: each of them is made once, however many later cells ask for it."""

from collections import Counter
from itertools import pairwise

from zsr.plan.cells import CellJobs
from zsr.plan.plan import Plan


def test_each_cell_of_a_chain_is_made_once(mini, monkeypatch):
    attacks = [{"name": name, "attack": "pgd", "steps": steps} for steps, name in enumerate("abc", start=1)]
    for before, attack in pairwise(attacks):
        attack["after"] = before["name"]
    mini["protocols"][0] |= {"attacks": attacks, "eps": ["1/255", "2/255", "4/255"], "chain_eps": True}
    made: Counter = Counter()
    cell = CellJobs._cell

    def counted(self, request):
        made[request.identity] += 1
        return cell(self, request)

    monkeypatch.setattr(CellJobs, "_cell", counted)
    plan = Plan(mini)
    assert len(made) == len(plan.cells) and set(made.values()) == {1}
    last = plan.graph.job("evaluate", plan.cells[-1].wildcards)
    assert {"before", "smaller"} <= last.needs.keys()

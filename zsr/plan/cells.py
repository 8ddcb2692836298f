"""The jobs that make cells: one evaluation each, or several shards and their merge."""

from dataclasses import replace

from zsr.config import lineage, protocols
from zsr.epsilon import eps_text
from zsr.plan.cell_request import CellRequest
from zsr.plan.graph import Graph, PlannedJob, Spec
from zsr.plan.upstream import UpstreamJobs, component, kind_of


class CellJobs:
    """Adds the cells that are requested to a graph, and remembers each request."""

    def __init__(self, graph: Graph, upstream: UpstreamJobs) -> None:
        self.graph = graph
        self.upstream = upstream
        self.config = upstream.config
        self.requests: dict[str, CellRequest] = {}  # by the cell's record
        self._made: dict[tuple[object, ...], PlannedJob] = {}

    def add(self, request: CellRequest) -> PlannedJob:
        """The job whose result is the cell, made once: later cells of a chain ask for all before them."""
        key = request.identity
        if key not in self._made:
            self._made[key] = self._cell(request)
        return self._made[key]

    def _cell(self, request: CellRequest) -> PlannedJob:
        needs = self._needs(request) | self._surrogate_needs(request)
        earlier = self._earlier_cells(request)
        spec = self._spec(request)
        if earlier:
            spec["follows"] = {role: _attack_and_eps(other) for role, other in earlier.items()}
        needs |= {role: self.add(other) for role, other in earlier.items()}
        wildcards = {
            "protocol": request.protocol.name,
            "model": needs["model"].wildcards["model"],
            "dataset": request.dataset,
            "attack": request.attack.name,
            "eps": eps_text(request.eps).replace("/", "_"),
        }
        shards = request.protocol.datasets[request.dataset].shards
        job = self._evaluation(shards, wildcards, spec, needs, self._roots(request))
        self.requests[job.record] = request
        return job

    def _needs(self, request: CellRequest) -> dict[str, PlannedJob]:
        """The model with its backbone and class embeddings, and the images."""
        of = request.model.name, request.backbone, request.seed
        dataset, taken = request.dataset, request.protocol.datasets[request.dataset]
        return {
            "model": self.upstream.model(*of),
            "backbone": self.upstream.base(*of),
            "head": self.upstream.texts(*of, dataset),
            "data": self.upstream.prepare(dataset, taken.split, taken.transform),
        }

    def _surrogate_needs(self, request: CellRequest) -> dict[str, PlannedJob]:
        """The model that a transfer attack makes its examples on; nothing for other attacks."""
        if request.attack.surrogate is None:
            return {}
        surrogate = self.config.models[request.attack.surrogate]
        of = surrogate.name, request.backbone, lineage.seed_of(surrogate, request.seed)
        needs = {
            "surrogate": self.upstream.model(*of),
            "surrogate_head": self.upstream.texts(*of, request.dataset),
        }
        backbone = self.upstream.base(*of)
        if backbone is not self.upstream.base(request.model.name, request.backbone, request.seed):
            needs["surrogate_backbone"] = backbone
        return needs

    def _earlier_cells(self, request: CellRequest) -> dict[str, CellRequest]:
        """role -> the cells whose fooled images are not attacked again in this one."""
        followed = protocols.follows(request.protocol, request.attack, request.eps)
        return {role: replace(request, attack=attack, eps=eps) for role, (attack, eps) in followed.items()}

    def _spec(self, request: CellRequest) -> Spec:
        """All that can change the verdicts, beside what the cell reads."""
        protocol, attack = request.protocol, request.attack
        return {
            "norm": protocol.norm,
            "batch": protocol.batch,
            "precision": protocol.precision,
            "store": protocol.store,
            "images": protocol.datasets[request.dataset].images,
            "verdict": attack.verdict,
            "attack": attack.kind,
            "settings": attack.settings,
            "eps": eps_text(request.eps),
            "method": request.model.opened_by,
            "seed": self.config.seed,
            "kernels": self.upstream.kernels(),
            **self.upstream.machine(),
        }

    def _roots(self, request: CellRequest) -> list[str]:
        """The files of the attack, the method and the backbone: loaded by name, so no import leads to them."""
        models = [request.model]
        if request.attack.surrogate is not None:
            models.append(self.config.models[request.attack.surrogate])
        return [
            component("attacks", request.attack.kind),
            *(component("methods", model.opened_by) for model in models),
            kind_of(self.config.backbones[request.backbone]),
        ]

    def _evaluation(
        self, shards: int, wildcards: dict[str, str], spec: Spec, needs: dict[str, PlannedJob], roots: list[str]
    ) -> PlannedJob:
        """One evaluation, or several of a part of the images each and their merge."""
        if shards == 1:
            return self.graph.add("evaluate", wildcards, spec, needs, "evaluate", roots)
        parts = {}
        for i in range(shards):
            place = {**wildcards, "shard": f"{i}-of-{shards}"}
            part = {**spec, "shard": [i, shards], "store": "none" if spec["store"] == "none" else "examples"}
            parts[f"shard-{i}"] = self.graph.add("shard", place, part, needs, "evaluate", roots, script="evaluate")
        return self.graph.add("merge", wildcards, {**spec, "shards": shards}, {**needs, **parts}, "evaluate")


def _attack_and_eps(request: CellRequest) -> str:
    """`pgd 2/255`, as the record of a later cell names it."""
    return f"{request.attack.name} {eps_text(request.eps)}"


def stores_examples(cell: PlannedJob) -> bool:
    """Whether a cell keeps its adversarial examples."""
    return bool(cell.spec["store"] != "none")

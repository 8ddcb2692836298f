"""Models of a finished plan, loaded for people: the gallery and `zsr export`. Cells load theirs by their own inputs."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from zsr.evaluation.cell import network
from zsr.methods.core.base import Method
from zsr.methods.core.loading import load_trained
from zsr.models.backbone import Backbone
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.records import check_digest, read_record


def model(plan: Plan, job: PlannedJob) -> tuple[Backbone, Method]:
    """A fine-tuned (or adopted) model on the CPU in eval mode, and the method that made it."""
    trained, record = weights(plan, job)
    backbone, backbone_record = weights(plan, job.needs["backbone"])
    return load_trained(backbone, backbone_record, trained, record)


def weights(plan: Plan, job: PlannedJob) -> tuple[Path, dict]:
    """Where a model's tensors lie, and their record."""
    return plan.results / job.outputs["weights"], read_record(plan.results / job.record, job.hash)


def zero_shot(plan: Plan, cell: PlannedJob, loaded: tuple[Backbone, Method]) -> nn.Module:
    """What a cell attacked: normalised images -> logits; a model that is not zero-shot gives them itself."""
    return network(*loaded, head(plan, cell.needs["head"])).eval()


def head(plan: Plan, job: PlannedJob) -> Tensor:
    """Class embeddings [C, D]."""
    record = read_record(plan.results / job.record, job.hash)
    return load_file(check_digest(plan.results / job.outputs["head"], record["digests"]["head"]))["head"]

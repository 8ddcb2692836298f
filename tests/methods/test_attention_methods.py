"""Text-guided attention: the maps, their distance without large maps, and the losses, each against plain loops."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from support.method_setting import (
    D,
    Fixed,
    Views,
    cross_entropy,
    equal,
    fit,
    gradient_check,
    make_batch,
    make_source,
    make_task,
)
from torch import nn

from zsr.errors import ZsrError
from zsr.methods.comp_tga import CompTGA
from zsr.methods.core import patch_tokens
from zsr.methods.tecoa import TeCoA
from zsr.methods.tga_zsr import TGAZSR

torch.set_num_threads(1)
SIDE, GRID = 12, 3


def vit(**keys) -> nn.Module:
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(SIDE, 4, width=16, layers=2, heads=2, mlp_ratio=2.0, output_dim=D, **keys)


def encode(prompts: list[str]) -> torch.Tensor:
    """A text tower: some function of the prompt."""
    rows = [torch.randn(D, generator=torch.Generator().manual_seed(sum(map(ord, prompt)))) for prompt in prompts]
    return torch.stack(rows)


def setting(**keys):
    task = make_task(vit, classes=tuple("abcd"), encode_text=encode, **keys)
    CompTGA().prepare(task, make_source(side=SIDE))
    batch = make_batch(3, SIDE)
    return task, batch, TeCoA().attack(task, batch).x


class TokenViews(Views):
    """Features, and all projected tokens [B][1 + P][D] by a forward written out."""

    def __init__(self, task, batch, adversarial, student=None):
        super().__init__(task, batch, adversarial, student)
        student = student or copy.deepcopy(task.visual).double()
        clean, attacked = (task.normalise(images).double() for images in (batch.images, adversarial))
        self.clean_tokens, self.adv_tokens = tokens(student, clean), tokens(student, attacked)
        self.clean0_tokens = tokens(copy.deepcopy(task.frozen).double(), clean)
        self.other = task.extras["other_head"].double().tolist()


def tokens(visual, x):
    with torch.no_grad():
        x = visual.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1) + visual.positional_embedding
        x = visual.ln_pre(x)
        for block in visual.transformer.resblocks:
            x = block(x)
        return (visual.ln_post(x) @ visual.proj).tolist()


def attention(image, text, normalise):
    """Steps 2 to 4 of the authors' code on one image's tokens [1 + P][D]."""
    if normalise == "tokens":
        lengths = [math.sqrt(sum(token[d] ** 2 for token in image)) for d in range(D)]
        image = [[token[d] / lengths[d] for d in range(D)] for token in image]
    else:
        image = [[v / math.sqrt(sum(w * w for w in token)) for v in token] for token in image]
    likeness = [sum(a * b for a, b in zip(token, text, strict=True)) for token in image[1:]]
    low, high = min(likeness), max(likeness)
    return [[(likeness[GRID * i + j] - low) / (high - low) for j in range(GRID)] for i in range(GRID)]


def bilinear(square, size):
    """Resize with half-pixel centres; edges repeat."""

    def source(k):
        place = max((k + 0.5) * GRID / size - 0.5, 0.0)
        first = min(int(place), GRID - 1)
        return first, min(first + 1, GRID - 1), place - first

    rows = []
    for i in range(size):
        a, b, u = source(i)
        row = []
        for j in range(size):
            c, d, v = source(j)
            row.append(
                (1 - u) * ((1 - v) * square[a][c] + v * square[a][d]) + u * ((1 - v) * square[b][c] + v * square[b][d])
            )
        rows.append(row)
    return rows


def tga(alpha, beta, normalise, size, comp=False):
    def large(image, y, views):
        own = bilinear(attention(image, views.head[y], normalise), size)
        if not comp:
            return own
        other = bilinear(attention(image, views.other[y], normalise), size)
        return [[a * (1 - b) for a, b in zip(*rows, strict=True)] for rows in zip(own, other, strict=True)]

    def reference(views, held):
        total = cross_entropy(views.adv, views)
        for weight, ours in ((alpha, views.adv_tokens), (beta, views.clean_tokens)):
            for i, y in enumerate(views.labels):
                pair = large(ours[i], y, views), large(held.clean0_tokens[i], y, views)
                squares = sum((a - b) ** 2 for rows in zip(*pair, strict=True) for a, b in zip(*rows, strict=True))
                total += weight * math.sqrt(squares) * (224 / size if comp else 1) / len(views.labels)
        return total

    return reference


CASES = {
    "tga": (TGAZSR(alpha=0.8, beta=0.5, map_size=9), tga(0.8, 0.5, "tokens", 9)),
    "tga-cosine": (TGAZSR(alpha=0.8, beta=0.5, normalise="features", map_size=9), tga(0.8, 0.5, "features", 9)),
    "comp": (CompTGA(alpha=0.08, beta=0.05, map_size=7), tga(0.08, 0.05, "tokens", 7, comp=True)),
}


@pytest.mark.parametrize(("method", "reference"), CASES.values(), ids=CASES)
def test_loss_and_gradient_are_the_formula(method, reference, monkeypatch):
    task, batch, adversarial = setting()
    Fixed(monkeypatch, adversarial)
    views = TokenViews(task, batch, adversarial)
    loss, logged = method.loss(task, batch)
    assert loss.item() == pytest.approx(reference(views, views), rel=5e-5)
    assert logged["attention_adversarial"] != logged["attention_clean"]
    gradient_check(method, task, batch, adversarial, reference, monkeypatch, rtol=1e-2, views=TokenViews)


def test_the_weights_are_not_exchanged(monkeypatch):
    task, batch, adversarial = setting()
    Fixed(monkeypatch, adversarial)
    views = TokenViews(task, batch, adversarial)
    found = TGAZSR(alpha=0.8, beta=0.5, map_size=9).loss(task, batch)[0].item()
    assert abs(found - tga(0.5, 0.8, "tokens", 9)(views, views)) > 1e-3


@pytest.mark.parametrize("grid", [(7, 7), (3, 5)])
def test_distance_of_large_maps_without_making_them(grid):
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 4, grid[0] * grid[1], generator=generator, dtype=torch.float64)
    large = F.interpolate((one - other).view(4, 1, *grid), (224, 224), mode="bilinear").flatten(1).norm(dim=1)
    torch.testing.assert_close(patch_tokens.map_distance(one, other, grid, 224), large)
    torch.testing.assert_close(
        patch_tokens.resized(one, grid, 224), F.interpolate(one.view(4, 1, *grid), (224, 224), mode="bilinear")[:, 0]
    )


def test_one_forward_gives_the_features_of_the_tower_to_the_bit():
    task, batch, _ = setting()
    features, seen = patch_tokens.look(task.visual, task.normalise(batch.images))
    assert torch.equal(features, task.features(batch.images))
    torch.testing.assert_close(seen, torch.tensor(tokens(task.visual, task.normalise(batch.images)))[:, 1:])


@pytest.mark.parametrize("method", [TGAZSR(alpha=0, beta=0), CompTGA(alpha=0, beta=0)], ids=["tga-zsr", "comp-tga"])
def test_without_its_terms_it_is_tecoa_bit_for_bit(method, tmp_path):
    ends = []
    for m in (method, TeCoA()):
        task = make_task(vit, moved=False, classes=tuple("abcd"), encode_text=encode)
        ends.append(fit(tmp_path, m, task, make_source(16, SIDE)).visual)
    assert equal(*ends)


@pytest.mark.parametrize("method", [TGAZSR(), CompTGA(map_size=28)], ids=["tga-zsr", "comp-tga"])
def test_training_moves_the_student_alone_from_a_finite_start(method, tmp_path):
    """At the first step the clean maps are equal: the norm's gradient there must be 0, not NaN."""
    task = make_task(vit, moved=False, classes=tuple("abcd"), encode_text=encode)
    start = copy.deepcopy(task.visual)
    fit(tmp_path, method, task, make_source(16, SIDE))
    assert equal(task.frozen, start)
    before = dict(start.named_parameters())
    assert all(not torch.equal(value, before[name]) for name, value in task.visual.named_parameters())


def stemmed() -> nn.Module:
    """A VisionTransformer with BatchNorm before its blocks, as the drawn one has."""
    tower = vit()
    first = tower.conv1
    norm = nn.BatchNorm2d(first.out_channels)
    tower.conv1 = nn.Sequential(first, norm)
    return tower


@pytest.mark.parametrize("method", [TGAZSR(), CompTGA(map_size=28)], ids=["tga-zsr", "comp-tga"])
def test_the_clean_forward_leaves_the_statistics_of_batchnorm(method):
    """They move once a step, on the adversarial images, as in TeCoA."""
    states = []
    for m in (method, TeCoA()):
        task = make_task(stemmed, classes=tuple("abcd"), encode_text=encode)
        m.prepare(task, make_source(side=SIDE))
        task.visual.train()
        m.loss(task, make_batch(3, SIDE))
        states.append(task.visual.conv1[1].state_dict())
    assert states[0]["num_batches_tracked"] == 1
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_forwards_are_counted(monkeypatch):
    """Adversarial and clean student, clean original; without β no clean student."""
    counts = []
    for beta in (0.05, 0.0):
        task, batch, adversarial = setting()
        Fixed(monkeypatch, adversarial)
        calls = []
        for tower in (task.visual, task.frozen):
            tower.conv1.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        TGAZSR(beta=beta).loss(task, batch)
        counts.append(len(calls))
    assert counts == [3, 2]


def test_a_flat_map_has_no_gradient_instead_of_nan():
    flat = torch.ones(1, 4, D, requires_grad=True)
    seen = patch_tokens.guided(torch.ones(1, D), flat, torch.ones(1, D), "features")
    seen.sum().backward()
    assert flat.grad.isfinite().all()
    assert not seen.any()


def resnet():
    from open_clip.modified_resnet import ModifiedResNet

    return ModifiedResNet([1, 1, 1, 1], output_dim=D, heads=4, image_size=32, width=8)


def test_mistakes_are_named_before_anything_is_computed(tmp_path):
    for method, name in ((TGAZSR(), "tga-zsr"), (CompTGA(), "comp-tga")):
        with pytest.raises(ZsrError, match=f"{name}: needs the patch tokens .* is a ModifiedResNet"):
            fit(tmp_path, method, make_task(resnet))
        with pytest.raises(ZsrError, match="pools by its class token"):
            fit(tmp_path, method, make_task(lambda: vit(pool_type="avg")))
    with pytest.raises(ZsrError, match="class names of the source set"):
        fit(tmp_path, CompTGA(), make_task(vit))
    with pytest.raises(ZsrError, match="no place"):
        fit(tmp_path, CompTGA(template="background"), make_task(vit, classes=tuple("abcd"), encode_text=encode))

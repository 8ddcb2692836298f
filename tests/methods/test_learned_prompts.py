"""Learned prompts: where their vectors stand in open_clip's towers."""

import pytest
import torch
import torch.nn.functional as F
from support.method_setting import make_batch
from support.prompts import NAMES, SIDE, TEMPLATES, dressed, make_backbone, make_task

from zsr.evaluation.class_embeddings import class_embeddings
from zsr.methods.advmaple import AdvMaPLe
from zsr.methods.advtp import AdvTP
from zsr.methods.advvlp import AdvVLP
from zsr.methods.fap import FAP
from zsr.methods.tecoa import TeCoA
from zsr.models import word_tokenizer

torch.set_num_threads(1)


def test_vectors_that_are_the_words_leave_the_prompt_as_open_clip_reads_it():
    backbone = make_backbone()
    for tokens in (0, 1, 2, 4):
        method = AdvVLP(tokens=tokens, depth=1)
        task = dressed(method, backbone=make_backbone(), moved=False)
        torch.testing.assert_close(method.texts(task), class_embeddings(backbone, NAMES, TEMPLATES[:1]))


def test_each_dataset_may_keep_its_own_templates():
    method = AdvTP(tokens=4, init="a photo of a", template="dataset")
    task = dressed(method, moved=False)
    torch.testing.assert_close(method.texts(task), class_embeddings(make_backbone(), NAMES, TEMPLATES))


def test_vectors_without_words_push_the_name_along():
    text, generator = make_backbone().text, torch.Generator().manual_seed(0)
    laid = text.lay(["red square"], ["{}"], "", 5)
    known = word_tokenizer.vocabulary()
    embedded = text.clip.token_embedding.weight
    assert laid.words.shape == (1, 1, 1 + 5 + 2 + 1, 16)
    assert laid.ends.tolist() == [[8]]
    assert torch.equal(laid.words[0, 0, 6:], embedded[[known["red"], known["square"], known["<end>"]]])
    context = text.initial("a photo", 5, generator)
    assert torch.equal(context[:2], embedded[[known["a"], known["photo"]]])
    assert 0 < context[2:].abs().max() < 0.1


@pytest.mark.parametrize(
    ("template", "kept"), [("a photo of a {}", 2), ("a {}", 1), ("{}", 0), ("this {}", 0)], ids=str
)
def test_what_the_template_shares_with_the_initial_words_is_replaced(template, kept):
    text = make_backbone().text
    if "this" in template:
        template = "the {}"
    laid = text.lay(["circle"], [template], "a photo of a", 2)
    assert laid.ends.item() == len(template.split()) + 1 + 2 - kept


def deep_by_hooks(tower, blocks, context, place):
    """Replace what comes into each layer at some places, by hooks on open_clip's own modules."""
    handles = []
    for layer, vectors in enumerate(context):
        if layer:

            def swap(module, inputs, vectors=vectors):
                x = inputs[0].clone()
                x[:, place(x)] = vectors
                return (x, *inputs[1:])

            handles.append(blocks[layer].register_forward_pre_hook(swap))
    return handles


def test_deep_text_prompts_replace_the_outputs_at_their_places():
    backbone, context = make_backbone(), torch.randn(3, 2, 16, generator=torch.Generator().manual_seed(0))
    found = backbone.text.encode(backbone.text.lay(NAMES, TEMPLATES[:1], "a photo of a", 2), context)
    shallow = backbone.text.encode(backbone.text.lay(NAMES, TEMPLATES[:1], "a photo of a", 2), context[:1])
    assert not torch.allclose(found, shallow, atol=1e-3)
    clip, place = backbone.clip, lambda x: slice(1, 3)
    clip.token_embedding.register_forward_hook(
        lambda module, inputs, out: torch.cat([out[:, :1], context[0].expand(len(out), 2, 16), out[:, 3:]], 1)
    )
    deep_by_hooks(clip, clip.transformer.resblocks, context, place)
    expected = clip.encode_text(backbone.tokens([f"a photo of a {name}" for name in NAMES]))
    torch.testing.assert_close(found, F.normalize(expected, dim=1))


def test_deep_image_prompts_stand_behind_the_patches_in_every_layer():
    task, images = dressed(AdvVLP()), make_batch(3, SIDE).images
    image, tower = task.visual.prompts.image, task.tower
    assert image.shape == (2, 2, 16)
    found = task.visual(images)
    with torch.no_grad():
        tower.ln_pre.register_forward_pre_hook(
            lambda module, inputs: torch.cat([inputs[0], image[0].expand(len(inputs[0]), -1, -1)], 1)
        )
        handles = deep_by_hooks(tower, tower.transformer.resblocks, image, lambda x: slice(-2, None))
        torch.testing.assert_close(found, tower(images))
        handles[0].remove()
        assert not torch.allclose(found, tower(images), atol=1e-3)


@pytest.mark.parametrize(("method", "made"), [(AdvMaPLe(), "image"), (FAP(), "text")], ids=["maple", "fap"])
def test_the_other_side_is_a_linear_map_per_layer(method, made):
    task = dressed(method)
    prompts = task.visual.prompts
    own, found = (prompts.text, prompts.image_side()) if made == "image" else (prompts.image, prompts.text_side())
    assert getattr(prompts, made) is None
    for layer in range(2):
        for m in range(2):
            for o in range(16):
                value = prompts.bias[layer, o] + sum(prompts.weight[layer, o, i] * own[layer, m, i] for i in range(16))
                if made == "text" and layer == 0:
                    value = value + task.text.embed(torch.tensor(task.text.ids("a photo")[1:-1]))[m, o]
                assert value.item() == pytest.approx(found[layer, m, o].item(), abs=1e-5)


def test_no_vectors_leave_tecoa():
    learned, plain = dressed(AdvVLP(tokens=0)), make_task(TeCoA())
    plain.head = class_embeddings(make_backbone(), NAMES, TEMPLATES[:1])
    batch = make_batch(5, SIDE)
    one, other = AdvVLP(tokens=0).loss(learned, batch)[0], TeCoA().loss(plain, batch)[0]
    assert one.item() == pytest.approx(other.item(), rel=1e-6)

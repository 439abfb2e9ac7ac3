"""Cross-entropy against PyTorch, and the gradient that chapter 2 is about."""
import importlib
from functools import partial

import pytest
import torch
from helpers import loss_examples
from helpers.loss_examples import LOSSES, gradient, takes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, vmap
from torch.nn import functional as F

from medlearn import losses
from medlearn.losses import cross_entropy

example = partial(loss_examples.example, scale=3.0)

each_loss = pytest.mark.parametrize("name", LOSSES)
quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)
SHAPES = [(4, 3), (3, 4, 7), (2, 3, 5, 4), (2, 4, 3, 4, 5)]
shapes = st.sampled_from(SHAPES)


@quick
@given(seeds, shapes, st.sampled_from(["mean", "sum", "none"]), st.sampled_from([0.0, 0.1, 1.0]), st.booleans(),
       st.sampled_from([None, 0, 1, 255, -100]))
def test_it_is_pytorchs_with_every_option(seed, shape, reduction, smoothing, weighted, ignore_index):
    logits, labels = example(seed, shape)
    if ignore_index is not None:
        labels.flatten()[::3] = ignore_index
    g = torch.Generator().manual_seed(seed)
    weight = torch.rand(shape[1], dtype=torch.float64, generator=g) if weighted else None
    options = dict(weight=weight, label_smoothing=smoothing, reduction=reduction)
    ours = cross_entropy(logits, labels, ignore_index=ignore_index, **options)
    theirs = F.cross_entropy(logits, labels, **options,
                             ignore_index=-7 if ignore_index is None else ignore_index)
    if reduction == "mean" and theirs.isnan():
        assert ours == 0
        return
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(ours.sum(), logits), gradient(theirs.sum(), logits), rtol=1e-12, atol=1e-12)


@quick
@given(seeds, shapes)
def test_the_gradient_is_the_error(seed, shape):
    logits, labels = example(seed, shape)
    y = F.one_hot(labels, shape[1]).movedim(-1, 1)
    slope = gradient(cross_entropy(logits, labels, reduction="sum"), logits)
    torch.testing.assert_close(slope, logits.softmax(1) - y, rtol=0, atol=1e-12)


def test_a_fifth_of_the_probability_pulls_with_four_fifths():
    logits = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64).log().requires_grad_()
    got = gradient(cross_entropy(logits, torch.tensor([0])), logits)
    torch.testing.assert_close(got, torch.tensor([[-0.8, 0.5, 0.3]], dtype=torch.float64), rtol=0, atol=1e-12)


@quick
@given(seeds)
def test_a_slice_is_a_volume_of_one_slice(seed):
    logits, labels = example(seed)
    assert cross_entropy(logits[..., None], labels[..., None]) == cross_entropy(logits, labels)


def test_the_mean_of_no_voxel_is_zero_with_gradient_zero():
    logits, labels = example(0)
    ignored = torch.full_like(labels, 9)
    for loss in (cross_entropy(logits, ignored, ignore_index=9), cross_entropy(logits, labels, weight=[0, 0, 0]),
                 cross_entropy(logits, ignored, ignore_index=9, weight=[1, 2, 3], label_smoothing=0.1)):
        assert loss == 0 and not gradient(loss, logits).any()
    assert cross_entropy(torch.zeros(0, 3, 4, 4), torch.zeros(0, 4, 4, dtype=torch.int64)) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    logits, labels = example(0, (1, 2, 300, 300), dtype, scale=0.1)
    loss = cross_entropy(logits, labels)
    assert loss.dtype == torch.float32 and gradient(loss, logits).dtype == dtype
    torch.testing.assert_close(loss, F.cross_entropy(logits.float(), labels))


def test_autocast_changes_nothing():
    logits, labels = example(0, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cross_entropy(logits, labels)
    assert inside.dtype == torch.float32 and inside == cross_entropy(logits, labels)


def test_it_may_be_differentiated_twice():
    logits, labels = example(0, (1, 3, 2, 2))
    assert torch.autograd.gradgradcheck(lambda z: cross_entropy(z, labels), logits)


OPTIONS = {
    "smoothing": (dict(label_smoothing=1.5), r"label_smoothing: expected 0\.\.1, got 1\.5"),
    "negative smoothing": (dict(label_smoothing=-0.1), r"label_smoothing: expected .*, got -0\.1"),
    "true for smoothing": (dict(label_smoothing=True), "label_smoothing: expected a number, got True"),
    "reduction": (dict(reduction="average"), "reduction: expected \"mean\", \"sum\" or \"none\", got 'average'"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_refused(refused, name):
    options, match = OPTIONS[name]
    with refused(match):
        cross_entropy(*example(0), **options)


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives of every loss, by autograd and by torch.func

@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_functional_transforms_give_each_image_its_gradient(name, weighted):
    logits, labels = example(0, (3, 3, 4, 5))
    labels[0, 0], logits = 255, logits.detach()
    options = {option: [1.0, 2.0, 3.0] for option in ("alpha", "weight") if weighted and takes(name, option)}

    def loss(z, y):
        return LOSSES[name](z[None], y[None], ignore_index=255, **options)

    each = [torch.autograd.grad(loss(z.requires_grad_(), y), z)[0] for z, y in zip(logits.clone().detach(), labels)]
    torch.testing.assert_close(vmap(grad(loss))(logits, labels), torch.stack(each), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(grad(loss)(logits[0], labels[0]), each[0], rtol=1e-10, atol=1e-14)
    whole = grad(lambda z: vmap(loss)(z, labels).sum())(logits)
    torch.testing.assert_close(whole, torch.stack(each), rtol=1e-10, atol=1e-14)
    one = vmap(loss, in_dims=(2, None))(logits.movedim(0, 2), labels[0])
    torch.testing.assert_close(one, torch.stack([loss(z, labels[0]) for z in logits]))


@each_loss
def test_a_gradient_may_be_differentiated(name):
    logits, labels = example(1, (2, 3, 2, 3), scale=1.0)
    labels[0, 0, 0] = 255
    assert torch.autograd.gradgradcheck(lambda z: LOSSES[name](z, labels, ignore_index=255), logits)


@each_loss
def test_a_gradient_penalty_reaches_what_lies_before_the_logits(name):
    """Through `torch.autograd.grad`, which skips the nodes that it does not need."""
    x, labels = example(2)
    w = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def penalty(w):
        slope, = torch.autograd.grad(LOSSES[name](torch.einsum("kc,bchw->bkhw", w, x), labels), x, create_graph=True)
        return slope.square().sum()

    assert torch.autograd.gradcheck(penalty, w)


def test_the_module_is_not_hidden_by_its_function():
    module = importlib.import_module("medlearn.losses.entropy")
    assert losses.entropy is module and losses.cross_entropy is module.cross_entropy


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    logits, labels = example(0)
    torch.testing.assert_close(cross_entropy(logits.cuda(), labels.cuda()).cpu(), cross_entropy(logits, labels))

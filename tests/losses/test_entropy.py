"""Cross-entropy against PyTorch, and the gradient that chapter 2 is about."""
import importlib
import threading
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from helpers import loss_examples
from helpers.loss_examples import gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch import nn
from torch.func import grad, vmap
from torch.nn import functional as F

from medlearn import losses
from medlearn.losses import cross_entropy, focal_loss, trusted_values

example = partial(loss_examples.example, scale=3.0)

LOSSES = {name.removesuffix("_loss"): getattr(losses, name) for name in losses.__all__ if name.endswith("_loss")}
LOSSES |= {"cross_entropy": cross_entropy, "focal": partial(focal_loss, gamma=2)}
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
    weight = torch.rand(shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) if weighted else None
    ours = cross_entropy(logits, labels, weight=weight, ignore_index=ignore_index, label_smoothing=smoothing, reduction=reduction)
    theirs = F.cross_entropy(logits, labels, weight, label_smoothing=smoothing, reduction=reduction,
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
    torch.testing.assert_close(gradient(cross_entropy(logits, labels, reduction="sum"), logits), logits.softmax(1) - y, rtol=0, atol=1e-12)


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
    for loss in (cross_entropy(logits, torch.full_like(labels, 9), ignore_index=9), cross_entropy(logits, labels, weight=[0, 0, 0]),
                 cross_entropy(logits, torch.full_like(labels, 9), ignore_index=9, weight=[1, 2, 3], label_smoothing=0.1)):
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


# ---------------------------------------------------------------------------------------------------------------------
# What is refused. Every loss has the same door, which is tested here.

LOGITS, LABELS = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
NAN, HUGE = LOGITS.clone(), LOGITS.clone()
NAN[1, 2, 3, 3], HUGE[0, 0, 0, 0] = torch.nan, torch.inf
BAD = {
    "numpy logits": (LOGITS.numpy(), LABELS, "logits: expected a float tensor .*, got ndarray"),
    "integer logits": (LABELS[:, None].expand(2, 3, 4, 4), LABELS, "logits: expected a float tensor .*, got torch.int64"),
    "float labels": (LOGITS, LABELS.float(), "labels: expected an int64 tensor .*, got torch.float32"),
    "int32 labels": (LOGITS, LABELS.int(), "labels: expected an int64 tensor .*, got torch.int32"),
    "labels with a channel": (LOGITS, LABELS[:, None], r"labels: expected shape \(2, 4, 4\) .*, got \(2, 1, 4, 4\)"),
    "labels of another size": (LOGITS, LABELS[:, :3], r"labels: expected shape \(2, 4, 4\) .*, got \(2, 3, 4\)"),
    "no classes": (torch.zeros(4), torch.zeros(4, dtype=torch.int64), r"logits: expected \(B, K, \*S\) .*, got shape \(4,\)"),
    "one class": (LOGITS[:, :1], LABELS, r"expected K >= 2 classes, got K = 1.*torch\.cat"),
    "label too high": (LOGITS, LABELS + 3, r"labels: expected labels of 0\.\.2 for 3 classes, got 3"),
    "label below 0": (LOGITS, LABELS - 1, r"labels: expected labels of 0\.\.2 for 3 classes, got -1"),
    "NaN": (NAN, LABELS, "logits: expected finite numbers .*, got nan"),
    "infinite": (HUGE, LABELS, "logits: expected finite numbers .*, got inf"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(refused, name):
    logits, labels, match = BAD[name]
    with refused(match):
        cross_entropy(logits, labels)


OPTIONS = {
    "negative weight": (dict(weight=[1, -1, 1]), r"weight\[1\]: expected 0 or more, got -1"),
    "too few weights": (dict(weight=[1, 1]), r"weight: expected shape \(3,\) for 3 classes, got \(2,\)"),
    "ignore_index no label": (dict(ignore_index=1.5), r"ignore_index: expected a whole number, got 1\.5"),
    "smoothing": (dict(label_smoothing=1.5), r"label_smoothing: expected 0\.\.1, got 1\.5"),
    "negative smoothing": (dict(label_smoothing=-0.1), r"label_smoothing: expected .*, got -0\.1"),
    "reduction": (dict(reduction="average"), "reduction: expected \"mean\", \"sum\" or \"none\", got 'average'"),
    "a tensor with a negative weight": (dict(weight=torch.tensor([1, -1, 1])), "weight: expected 0 or more, got -1"),
    "a matrix of weights": (dict(weight=torch.ones(3, 1)), r"weight: expected \(K,\), got shape \(3, 1\)"),
    "complex weights": (dict(weight=torch.ones(3) * 1j), "weight: expected a float tensor .*complex64"),
    "text for weights": (dict(weight="abc"), r"weight\[0\]: expected a number, got 'a'"),
    "no weight": (dict(weight=[1, None, 1]), r"weight\[1\]: expected a number, got None"),
    "true for weights": (dict(weight=True), "weight: expected one number for each class, got True"),
    "text for ignore_index": (dict(ignore_index="255"), "ignore_index: expected a whole number, got '255'"),
    "true for smoothing": (dict(label_smoothing=True), "label_smoothing: expected a number, got True"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_refused(refused, name):
    options, match = OPTIONS[name]
    with refused(match):
        cross_entropy(LOGITS, LABELS, **options)


def test_a_label_out_of_range_beside_ignored_ones_is_refused(refused):
    labels = LABELS.clone()
    labels[0], labels[1, 0, 0] = 255, 254
    with refused("got 254"):
        cross_entropy(LOGITS, labels, ignore_index=255)


def test_trusted_values_are_not_looked_at():
    with trusted_values():
        assert cross_entropy(NAN, LABELS).isnan()
        with pytest.raises(TypeError, match="int64"):
            cross_entropy.__wrapped__(LOGITS, LABELS.float())
    with pytest.raises(ValueError, match="nan"):
        cross_entropy(NAN, LABELS)


def test_threads_that_leave_in_another_order_trust_for_themselves_alone():
    """The first enters, the second enters, the first leaves: the second still trusts, and afterwards nobody does."""
    entered, left, trusts = threading.Event(), threading.Event(), []

    def second():
        with trusted_values():
            entered.set()
            left.wait(10)
            trusts.append(cross_entropy(NAN, LABELS).isnan().item())

    other = threading.Thread(target=second)
    with trusted_values():
        other.start()
        entered.wait(10)
    with pytest.raises(ValueError, match="nan"):
        cross_entropy(NAN, LABELS)
    left.set()
    other.join()
    assert trusts == [True]
    with pytest.raises(ValueError, match="nan"):
        cross_entropy(NAN, LABELS)


@each_loss
@pytest.mark.parametrize("wild", [torch.nan, torch.inf])
@pytest.mark.parametrize("trust", [False, True])
def test_what_lies_under_an_ignored_label_may_be_anything(name, wild, trust):
    logits, labels = example(0)
    logits.data[0, :, 1, 1], labels[0, 1, 1] = torch.tensor([300.0, 0, 0]), 1       # surer than a float's digits go
    labels[0, 0] = 255
    wrong = logits.detach().clone()
    wrong[0, 1, 0] = wild
    wrong.requires_grad_()
    with trusted_values() if trust else nullcontext():
        loss = LOSSES[name](wrong, labels, ignore_index=255)
    expected = LOSSES[name](logits, labels, ignore_index=255)
    assert loss == expected and torch.equal(gradient(loss, wrong), gradient(expected, logits))
    assert not gradient(LOSSES[name](wrong, labels, ignore_index=255), wrong)[0, :, 0].any()


@each_loss
def test_nan_beside_an_ignored_one_is_refused(name, refused):
    wrong, labels = NAN.clone(), LABELS.clone()
    wrong[0, :, 0, 0], labels[0, 0, 0] = torch.nan, 255
    with refused("logits: expected finite numbers .*, got nan"):
        LOSSES[name](wrong, labels, ignore_index=255)


@each_loss
def test_numbers_of_numpy_are_numbers(name, unchecked):
    logits, labels = example(0)
    labels[0, 0] = 1
    loss = LOSSES[name](logits, labels, ignore_index=np.int64(1))
    assert loss == LOSSES[name](logits, labels, ignore_index=1) and gradient(loss, logits).any()
    options = {"cross_entropy": "label_smoothing", "focal": "alpha", "dice_ce": "lambda_ce"}
    options = {options.get(name, "smooth"): np.float32(0.5)}
    loss = LOSSES[name](logits, labels, **options)
    assert isinstance(loss, torch.Tensor) and loss == LOSSES[name](logits, labels, **{k: 0.5 for k in options})
    if name not in ("focal", "generalized_dice"):
        ours, theirs = (LOSSES[name](logits, labels, weight=w) for w in (np.array([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]))
        assert ours == theirs


class Labelled(torch.Tensor):
    """As a library would make of a tensor."""


@each_loss
@pytest.mark.parametrize("kind", [MetaTensor, lambda x: x.as_subclass(Labelled), nn.Parameter],
                         ids=["MetaTensor", "own", "Parameter"])
def test_subclasses_of_tensors_have_the_loss_of_tensors(name, kind):
    logits, labels = example(0, dtype=torch.float32)
    x = kind(logits.detach()).requires_grad_()
    loss = LOSSES[name](x, labels if kind is nn.Parameter else kind(labels))
    expected = LOSSES[name](logits, labels)
    assert loss.as_subclass(torch.Tensor) == expected
    assert torch.equal(gradient(loss, x).as_subclass(torch.Tensor), gradient(expected, logits))


@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_functional_transforms_give_each_image_its_gradient(name, weighted):
    logits, labels = example(0, (3, 3, 4, 5))
    labels[0, 0], logits = 255, logits.detach()
    weight = [1.0, 2.0, 3.0] if weighted and name != "generalized_dice" else None
    options = {} if weight is None else {"alpha" if name == "focal" else "weight": weight}

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
    """Through `torch.autograd.grad`, which goes around the nodes that it need not walk through."""
    x, labels = example(2)
    w = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def penalty(w):
        slope, = torch.autograd.grad(LOSSES[name](torch.einsum("kc,bchw->bkhw", w, x), labels), x, create_graph=True)
        return slope.square().sum()

    assert torch.autograd.gradcheck(penalty, w)


def test_the_module_is_not_hidden_by_its_function():
    module = importlib.import_module("medlearn.losses.entropy")
    assert losses.entropy is module and losses.cross_entropy is module.cross_entropy


def test_a_class_may_be_ruled_out():
    logits = LOGITS.clone()
    logits[:, 2] = -torch.inf
    assert cross_entropy(logits, LABELS).item() == pytest.approx(0.6931472)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_same():
    logits, labels = example(0)
    torch.testing.assert_close(cross_entropy(logits.cuda(), labels.cuda()).cpu(), cross_entropy(logits, labels))

"""The door that all losses share: labels, class weights, ignored voxels, numbers and tensors of other libraries."""
import threading
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from helpers import loss_examples
from helpers.loss_examples import LOSSES, gradient, takes
from monai.data import MetaTensor
from torch import nn

from medlearn.losses import cross_entropy, trusted_values

example = partial(loss_examples.example, scale=3.0)
each_loss = pytest.mark.parametrize("name", LOSSES)

LOGITS, LABELS = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
NAN, HUGE = LOGITS.clone(), LOGITS.clone()
NAN[1, 2, 3, 3], HUGE[0, 0, 0, 0] = torch.nan, torch.inf
BAD = {
    "numpy logits": (LOGITS.numpy(), LABELS, "logits: expected a float tensor .*, got ndarray"),
    "integer logits": (LABELS[:, None].expand(2, 3, 4, 4), LABELS,
                       "logits: expected a float tensor .*, got torch.int64"),
    "float labels": (LOGITS, LABELS.float(), "labels: expected an int64 tensor .*, got torch.float32"),
    "int32 labels": (LOGITS, LABELS.int(), "labels: expected an int64 tensor .*, got torch.int32"),
    "labels with a channel": (LOGITS, LABELS[:, None],
                              r"labels: expected an int64 tensor \(2, 4, 4\) of classes .*, got .*\(2, 1, 4, 4\)"),
    "labels of another size": (LOGITS, LABELS[:, :3],
                               r"labels: expected an int64 tensor \(2, 4, 4\) .*, got .*\(2, 3, 4\)"),
    "regions of another size": (LOGITS, LABELS == 0, r"labels: expected .* or a bool tensor \(2, 3, 4, 4\) of regions "
                                                     r"\(a sigmoid each\), got torch.bool of shape \(2, 4, 4\)"),
    "one-hot labels": (LOGITS, LABELS[:, None].expand(2, 3, 4, 4),
                       "labels: expected .* or a bool tensor .*torch.int64"),
    "no regions": (LOGITS[:, :0], LABELS[:, None, :][:, :0] == 0, "logits: expected K >= 1 regions, got K = 0"),
    "no classes": (torch.zeros(4), torch.zeros(4, dtype=torch.int64),
                   r"logits: expected \(B, K, \*S\) .*, got shape \(4,\)"),
    "one class": (LOGITS[:, :1], LABELS, r"expected K >= 2 classes, got K = 1.*bool labels \(B, 1, \*S\)"),
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
    "a tensor with a negative weight": (dict(weight=torch.tensor([1, -1, 1])), "weight: expected 0 or more, got -1"),
    "a matrix of weights": (dict(weight=torch.ones(3, 1)), r"weight: expected \(K,\), got shape \(3, 1\)"),
    "complex weights": (dict(weight=torch.ones(3) * 1j), "weight: expected a float tensor .*complex64"),
    "text for weights": (dict(weight="abc"), r"weight\[0\]: expected a number, got 'a'"),
    "no weight": (dict(weight=[1, None, 1]), r"weight\[1\]: expected a number, got None"),
    "true for weights": (dict(weight=True), "weight: expected one number for each class, got True"),
    "text for ignore_index": (dict(ignore_index="255"), "ignore_index: expected a whole number, got '255'"),
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
    """The first enters, the second enters, the first leaves: the second still trusts; in the end neither does."""
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
def test_nan_beside_an_ignored_one_is_refused(name, refused):
    wrong, labels = NAN.clone(), LABELS.clone()
    wrong[0, :, 0, 0], labels[0, 0, 0] = torch.nan, 255
    with refused("logits: expected finite numbers .*, got nan"):
        LOSSES[name](wrong, labels, ignore_index=255)


def test_a_class_may_be_ruled_out():
    logits = LOGITS.clone()
    logits[:, 2] = -torch.inf
    assert cross_entropy(logits, LABELS).item() == pytest.approx(0.6931472)


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
def test_a_whole_number_of_numpy_is_a_label(name, unchecked):
    logits, labels = example(0)
    labels[0, 0] = 1
    loss = LOSSES[name](logits, labels, ignore_index=np.int64(1))
    assert loss == LOSSES[name](logits, labels, ignore_index=1) and gradient(loss, logits).any()


@each_loss
def test_numbers_of_numpy_are_numbers(name):
    logits, labels = example(0)
    options = {"cross_entropy": "label_smoothing", "focal": "alpha", "dice_ce": "lambda_ce", "top_k": "share"}
    options = {options.get(name, "smooth"): np.float32(0.5)}
    loss = LOSSES[name](logits, labels, **options)
    assert isinstance(loss, torch.Tensor) and loss == LOSSES[name](logits, labels, **{k: 0.5 for k in options})
    if takes(name, "weight"):
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

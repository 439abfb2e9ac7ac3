"""Cross-entropy against PyTorch, and the gradient that chapter 2 is about."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from medlearn.losses import cross_entropy, trusted_values

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)
SHAPES = [(4, 3), (3, 4, 7), (2, 3, 5, 4), (2, 4, 3, 4, 5)]
shapes = st.sampled_from(SHAPES)


def example(seed, shape=(2, 3, 5, 4), dtype=torch.float64, scale=3.0):
    g = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=g)
    return logits.requires_grad_(), labels


def gradient(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


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
    "label too high": (LOGITS, LABELS + 3, r"labels: expected 0\.\.2 for 3 classes, got 3; .*ignore_index"),
    "label below 0": (LOGITS, LABELS - 1, r"labels: expected 0\.\.2 for 3 classes, got -1"),
    "NaN": (NAN, LABELS, "logits: expected finite numbers .*, got nan"),
    "infinite": (HUGE, LABELS, "logits: expected finite numbers .*, got inf"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(refused, name):
    logits, labels, match = BAD[name]
    with refused(match):
        cross_entropy(logits, labels)


OPTIONS = {
    "negative weight": (dict(weight=[1, -1, 1]), r"weight: expected finite numbers of 0 or more, got -1"),
    "too few weights": (dict(weight=[1, 1]), r"weight: expected one number for each of 3 classes, got shape \(2,\)"),
    "ignore_index no label": (dict(ignore_index=1.5), r"ignore_index: expected a label or None, got 1\.5"),
    "smoothing": (dict(label_smoothing=1.5), r"label_smoothing: expected a number in 0\.\.1, got 1\.5"),
    "negative smoothing": (dict(label_smoothing=-0.1), r"label_smoothing: expected .*, got -0\.1"),
    "reduction": (dict(reduction="average"), "reduction: expected one of mean, sum, none, got 'average'"),
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


def test_a_class_may_be_ruled_out():
    logits = LOGITS.clone()
    logits[:, 2] = -torch.inf
    assert cross_entropy(logits, LABELS).item() == pytest.approx(0.6931472)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_same():
    logits, labels = example(0)
    torch.testing.assert_close(cross_entropy(logits.cuda(), labels.cuda()).cpu(), cross_entropy(logits, labels))

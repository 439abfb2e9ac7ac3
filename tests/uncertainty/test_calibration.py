"""Calibration against restatements in numpy, known miscalibration, and the temperature that mends it."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch.nn import functional as F

from medlearn.base.private import TorchDispatchMode, tree_leaves
from medlearn.losses import cross_entropy
from medlearn.uncertainty import TemperatureScaling, brier_score, classwise_ece, negative_log_likelihood, reliability

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)
SHAPES = [(40, 3), (5, 2, 7), (2, 4, 5, 4), (1, 3, 3, 4, 5)]
shapes = st.sampled_from(SHAPES)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def example(seed, shape, scale=2.0, dtype=torch.float64):
    """Logits, and labels drawn from their probabilities: the network is calibrated."""
    g = seeded(seed)                                        # one for both: with a seed each the draws would go together
    logits = (scale * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)
    rows = logits.softmax(1).movedim(1, -1).flatten(0, -2)
    labels = torch.multinomial(rows, 1, generator=g).reshape(shape[0], *shape[2:])
    return logits, labels


def rows_of(p, labels, ignore_index=None):
    rows, labels = p.movedim(1, -1).reshape(-1, p.shape[1]).numpy(), labels.flatten().numpy()
    keep = np.ones(len(labels), dtype=bool) if ignore_index is None else labels != ignore_index
    return rows[keep], labels[keep]


def diagram_by_loop(confidence, right, edges):
    """Mean confidence, accuracy and count between each edge, not included, and the next, included."""
    bins = [(confidence > low) & (confidence <= high) for low, high in zip(edges[:-1], edges[1:])]
    mean = lambda values: values.mean() if len(values) else math.nan
    return np.array([[mean(confidence[b]), mean(right[b]), b.sum()] for b in bins]).T


def check_diagram(ours, confidence, right, edges):
    conf, accuracy, count = diagram_by_loop(confidence, right, edges)
    np.testing.assert_allclose(ours.confidence, conf, rtol=1e-12)
    np.testing.assert_allclose(ours.accuracy, accuracy, rtol=1e-12)
    np.testing.assert_array_equal(ours.count, count)
    gaps = np.abs(accuracy - conf)[count > 0]
    assert ours.ece == pytest.approx((gaps * count[count > 0]).sum() / count.sum(), rel=1e-12)
    assert ours.mce == pytest.approx(gaps.max(), rel=1e-12)


@quick
@given(seeds, shapes, st.integers(1, 20), st.sampled_from([None, 0, 255]))
def test_the_diagram_is_a_loop_over_bins(seed, shape, bins, ignore_index):
    logits, labels = example(seed, shape)
    if ignore_index is not None:
        labels.flatten()[::3] = ignore_index
    p = logits.softmax(1)
    rows, y = rows_of(p, labels, ignore_index)
    ours = reliability(p, labels, bins=bins, ignore_index=ignore_index)
    check_diagram(ours, rows.max(1), rows.argmax(1) == y, np.linspace(0, 1, bins + 1))


@quick
@given(seeds, shapes, st.integers(1, 20))
def test_the_diagram_of_a_class_and_the_class_wise_error(seed, shape, bins):
    logits, labels = example(seed, shape)
    p = logits.softmax(1)
    rows, y = rows_of(p, labels)
    for k in range(shape[1]):
        ours = reliability(p, labels, bins=bins, of_class=k)
        check_diagram(ours, rows[:, k], y == k, np.linspace(0, 1, bins + 1))
        assert classwise_ece(p, labels, bins=bins)[k] == ours.ece


@quick
@given(seeds, shapes, st.integers(1, 20))
def test_adaptive_bins_hold_equal_numbers_whatever_the_order(seed, shape, bins):
    logits, labels = example(seed, shape)
    p = logits.softmax(1)
    rows, y = rows_of(p, labels)
    confidence, n = np.sort(rows.max(1)), len(rows)
    ours = reliability(p, labels, bins=bins, adaptive=True)
    if n >= bins:
        edges = [0, *(confidence[math.ceil(i * n / bins) - 1] for i in range(1, bins)), 1]
        check_diagram(ours, rows.max(1), rows.argmax(1) == y, edges)
        assert ours.count.max() - ours.count.min() <= 1
    backwards = reliability(p.flip(0), labels.flip(0), bins=bins, adaptive=True)
    assert torch.equal(backwards.count, ours.count) and backwards.ece == pytest.approx(ours.ece, rel=1e-12)


def test_equal_confidences_share_an_adaptive_bin():
    p = torch.tensor([[0.6, 0.4]] * 5 + [[0.9, 0.1]] * 5)
    labels = torch.tensor([0, 1, 0, 1, 0, 0, 0, 0, 0, 1])
    orders = [torch.randperm(10, generator=seeded(s)) for s in range(5)]
    diagrams = [reliability(p[o], labels[o], bins=4, adaptive=True) for o in orders]
    assert all(sorted(d.count.tolist()) == [0, 0, 5, 5] for d in diagrams)
    assert all(d.ece == pytest.approx(0.5 * (0.6 - 0.6) + 0.5 * abs(0.8 - 0.9), abs=1e-6) for d in diagrams)


def test_sure_and_right_eight_times_in_ten():
    p = torch.tensor([[0.95, 0.05]]).repeat(10, 1)
    diagram = reliability(p, torch.tensor([0] * 8 + [1] * 2), bins=10)
    assert diagram.count.tolist() == [0] * 9 + [10] and diagram.accuracy[9] == 0.8
    assert diagram.ece == diagram.mce == pytest.approx(0.15, abs=1e-6)
    assert diagram.confidence[:9].isnan().all() and diagram.accuracy[:9].isnan().all()


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_known_miscalibration_is_found(adaptive):
    """Labels follow softmax(z), and the network says softmax(T z): the gap is known without labels."""
    logits, labels = example(0, (60_000, 3), scale=1.5)
    said, true = (3 * logits).softmax(1), logits.softmax(1)
    diagram = reliability(said, labels, adaptive=adaptive)
    # per bin, the mean probability of being right is known; what is left is the chance of the labels
    confidence, found = said.max(1)
    right = true.gather(1, found[:, None]).squeeze(1)
    known = (confidence - right).mean().item()                      # the network is too sure in every bin
    assert diagram.ece == pytest.approx(known, abs=4 * 0.5 / 60_000**0.5)
    assert diagram.ece > 0.1 and reliability(true, labels, adaptive=adaptive).ece < 0.01


def test_brier_and_likelihood_by_hand():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2])
    assert brier_score(p, labels) == pytest.approx((0.3**2 + 0.2**2 + 0.1**2) / 2)
    assert negative_log_likelihood(p, labels) == pytest.approx(-math.log(0.7) / 2)
    assert brier_score(p, torch.tensor([0, 0])) == pytest.approx((0.14 + 2) / 2)
    assert negative_log_likelihood(p, torch.tensor([0, 0])) == math.inf


@quick
@given(seeds, shapes, st.sampled_from([None, 0, 255]))
def test_brier_and_likelihood_are_numpys_and_cross_entropy(seed, shape, ignore_index):
    logits, labels = example(seed, shape)
    if ignore_index is not None:
        labels.flatten()[1::2] = ignore_index
    p = logits.softmax(1)
    rows, y = rows_of(p, labels, ignore_index)
    options = {} if ignore_index is None else {"ignore_index": ignore_index}
    if len(y):
        error = ((rows - np.eye(shape[1])[y])**2).sum(1).mean()
        assert brier_score(p, labels, **options) == pytest.approx(error, rel=1e-10)
        assert negative_log_likelihood(p, labels, **options) == pytest.approx(
            cross_entropy(logits, labels, **options).item(), rel=1e-10)


def test_a_proper_score_is_best_for_the_truth():
    logits, labels = example(1, (20_000, 3))
    for score in (brier_score, negative_log_likelihood):
        values = [score((t * logits).softmax(1), labels) for t in (0.5, 1, 2)]
        assert values[1] == min(values)


def test_no_case_is_undefined():
    p, labels = torch.full((2, 2, 3), 0.5), torch.full((2, 3), 9)
    for adaptive in (False, True):
        diagram = reliability(p, labels, ignore_index=9, adaptive=adaptive)
        assert diagram.count.tolist() == [0] * 15 and math.isnan(diagram.ece) and math.isnan(diagram.mce)
    assert classwise_ece(p, labels, ignore_index=9).isnan().all()
    assert math.isnan(brier_score(p, labels, ignore_index=9))
    assert math.isnan(negative_log_likelihood(p, labels, ignore_index=9))


# ---------------------------------------------------------------------------------------------------------------------
# Temperature.

@pytest.mark.parametrize("shape", [(20_000, 3), (20, 3, 20, 50)])
@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_again(true, shape):
    logits, labels = example(0, shape)
    scaling = TemperatureScaling().fit(true * logits, labels)
    assert scaling.temperature.item() == pytest.approx(true, rel=0.05)         # 20 000 labels tell it to 1 %
    torch.testing.assert_close(scaling((true * logits).float()), logits.float(), rtol=0.05, atol=1e-6)
    held_out, theirs = example(1, shape)
    before, after = (reliability(z.softmax(1), theirs).ece for z in (true * held_out, scaling(true * held_out)))
    assert after < 0.015 and (true == 1 or after < before / 3)


@quick
@given(seeds, st.sampled_from([1e-6, 1e-2, 1.0, 1e4]))
def test_it_is_scipys_minimum_whatever_the_logits_unit(seed, unit):
    logits, labels = example(seed, (100, 4))
    scaling = TemperatureScaling().double().fit(unit * logits, labels)
    loss = lambda log_t: F.cross_entropy(logits / math.exp(log_t), labels).item()
    best = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10})
    assert scaling.temperature.item() / unit == pytest.approx(math.exp(best.x), rel=1e-6)
    inverse = (1 / scaling.temperature).requires_grad_()
    slope = torch.autograd.grad(F.cross_entropy(unit * logits * inverse, labels), inverse)[0]
    assert abs(slope * inverse) < 1e-6                      # a loss known to 1e-14 has its minimum where this is 1e-7


def test_ignored_voxels_do_not_count_and_the_answers_stay():
    logits, labels = example(0, (2, 3, 10, 10))
    masked = labels.clone()
    masked[:, :5] = 255
    some = TemperatureScaling().fit(logits, masked, ignore_index=255)
    assert some.temperature == TemperatureScaling().fit(logits[:, :, 5:], labels[:, 5:]).temperature
    assert torch.equal(some(logits).argmax(1), logits.argmax(1))


def test_no_tensor_of_a_fit_is_larger_than_the_logits():
    """They may be many volumes; in float64, several at once, they were 20 times what came."""
    largest = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            output = operation(*args, **(kwargs or {}))
            largest.extend(x.nbytes for x in tree_leaves(output) if isinstance(x, torch.Tensor))
            return output

    logits, labels = example(0, (2, 4, 300, 1000))
    with Sizes():
        TemperatureScaling().fit(logits.float(), labels)
    assert max(largest) <= logits.float().nbytes


def test_it_is_saved_and_keeps_half_precision():
    scaling = TemperatureScaling().fit(*example(0, (500, 3)))
    again = TemperatureScaling()
    again.load_state_dict(scaling.state_dict())
    assert again.temperature == scaling.temperature
    assert scaling(torch.zeros(1, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    with torch.no_grad():
        assert TemperatureScaling().fit(*example(0, (500, 3))).temperature == scaling.temperature


def test_where_there_is_no_best_temperature_it_says_so(refused):
    right = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    with refused("labels: expected some that have not the largest logit, got none"):
        TemperatureScaling().fit(right, torch.tensor([0, 1]))
    with refused("logits: expected them to be larger for the label .*, got the contrary"):
        TemperatureScaling().fit(right, torch.tensor([1, 0]))
    with refused("labels: expected at least one case"):
        TemperatureScaling().fit(right, torch.tensor([9, 9]), ignore_index=9)
    with refused("logits: expected finite numbers"):
        TemperatureScaling().fit(right * torch.nan, torch.tensor([0, 1]))


# ---------------------------------------------------------------------------------------------------------------------
# What is refused.

HALF, LABELS = torch.full((2, 2, 3), 0.5), torch.zeros(2, 3, dtype=torch.int64)
BAD = {
    "logits": (HALF * 0, LABELS, {}, "probabilities: expected sums of 1"),
    "negative": (torch.tensor([[1.5, -0.5]]), LABELS[:1, 0], {}, "probabilities: expected 0 or more"),
    "integers": (LABELS[:, None], LABELS, {}, "probabilities: expected a float tensor"),
    "float labels": (HALF, LABELS.float(), {}, "labels: expected an int64 tensor"),
    "label out of range": (HALF, LABELS + 2, {}, r"labels: expected labels of 0\.\.1 for 2 classes, got 2"),
    "shape": (HALF, LABELS[:, :2], {}, r"labels: expected shape \(2, 3\)"),
}
OPTIONS = {
    "no bins": ({"bins": 0}, "bins: expected a whole number, 1 or more, got 0"),
    "half a bin": ({"bins": 1.5}, "bins: expected a whole number, got 1.5"),
    "class": ({"of_class": 2}, r"of_class: expected a whole number, 0\.\.1, got 2"),
    "class by name": ({"of_class": "lesion"}, "of_class: expected a whole number, got 'lesion'"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("function", [reliability, classwise_ece, brier_score, negative_log_likelihood])
def test_bad_input_is_refused(refused, function, name):
    p, labels, options, match = BAD[name]
    with refused(match):
        function(p, labels, **options)


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_refused(refused, name):
    options, match = OPTIONS[name]
    with refused(match):
        reliability(HALF, LABELS, **options)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    logits, labels = example(0, (2, 4, 9, 9))
    p = logits.softmax(1)
    here, there = reliability(p, labels, adaptive=True), reliability(p.cuda(), labels.cuda(), adaptive=True)
    assert torch.equal(there.count.cpu(), here.count) and there.ece == pytest.approx(here.ece)
    assert TemperatureScaling().cuda().fit(logits.cuda(), labels.cuda()).temperature.is_cuda

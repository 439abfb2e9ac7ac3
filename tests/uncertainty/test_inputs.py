"""What the measures of uncertainty refuse, and how they lay voxels in a row."""
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medlearn.uncertainty._inputs import (
    check_cases,
    check_log_variance,
    check_members,
    check_probabilities,
    check_samples,
    check_variances,
    labelled_cases,
    least_count,
    sums_to_1,
    voxels_in_a_row,
)

P = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).softmax(1)


@given(st.integers(0, 100), st.integers(0, 300))
def test_the_least_count_is_that_of_exact_fractions(hundredths, n):
    assert least_count(hundredths / 100, n) == math.ceil(Fraction(hundredths, 100) * n)


@pytest.mark.parametrize("shape, axes_before", [((2, 3), 0), ((2, 3, 4, 5, 6), 0), ((4, 2, 3, 5), 1), ((0, 3, 5), 0)])
def test_probabilities_sum_to_1_over_their_classes(shape, axes_before, refused):
    p = torch.rand(shape).softmax(1 + axes_before)
    check_probabilities(p, axes_before=axes_before)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        check_probabilities(p.to(dtype), axes_before=axes_before)
    if p.numel():
        with refused("probabilities: expected sums of 1 over the classes"):
            check_probabilities(p * 1.01, axes_before=axes_before)
        with refused("probabilities: expected 0 or more, got -"):
            check_probabilities(-p, axes_before=axes_before)


def test_other_inputs_are_refused(refused):
    x = torch.zeros(2, 3)
    check_members("x", x), check_variances("x", x, like=x), check_log_variance(x, like=x), check_samples(4)
    check_cases("x", x[0])
    with refused(r"x: expected at least one member along the first axis, got shape \(0, 3\)"):
        check_members("x", x[:0])
    with refused(r"x: expected at least one member along the first axis, got shape \(\)"):
        check_members("x", x[0, 0])
    with refused(r"x: expected 0 or more, got -1. A network that predicts log-variances needs .exp\(\) here"):
        check_variances("x", x - 1, like=x)
    with refused(r"x: expected shape \(2, 3\)"):
        check_variances("x", x[:1], like=x)
    with refused("log_variance: expected -80..80, got 81"):
        check_log_variance(x + 81, like=x)
    for samples, words in {3: "an even number, since they come in pairs", 0: "a whole number, 2 or more"}.items():
        with refused(f"samples: expected {words}"):
            check_samples(samples)
    with refused(r"x: expected \(n,\)"):
        check_cases("x", x)


@pytest.mark.parametrize("ignore_index", [None, 1])
def test_voxels_lie_in_a_row_with_their_labels(ignore_index):
    labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    rows, kept = voxels_in_a_row(P, labels, ignore_index)
    expected = [(P[b, :, y, x], labels[b, y, x]) for b in range(2) for y in range(4) for x in range(5)
                if labels[b, y, x] != ignore_index]
    assert torch.equal(rows, torch.stack([p for p, _ in expected]))
    assert torch.equal(kept, torch.stack([label for _, label in expected]))
    assert all(map(torch.equal, labelled_cases(P, labels, ignore_index), (rows, kept)))


def test_half_precision_is_widened_and_sums_are_1():
    rows, _ = labelled_cases(P.half(), torch.zeros(2, 4, 5, dtype=torch.int64), None)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(sums_to_1(1.01 * P).sum(1), torch.ones(2, 4, 5))

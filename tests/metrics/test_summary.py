"""Means over cases: nothing is dropped silently."""
import math

import pytest
import torch

from medlearn.metrics import summarise


def test_a_summary_counts_what_it_leaves_out():
    values = torch.tensor([0.9, 0.7, math.nan, 0.0])
    found = summarise(values)
    assert (found.cases, found.undefined, found.infinite) == (3, 1, 0)
    assert found.mean == found.finite_mean == pytest.approx(1.6 / 3)
    assert found.finite_std == pytest.approx(values[[0, 1, 3]].std().item())
    assert repr(found) == "0.533 ± 0.473 over 3 cases (1 undefined, left out)"


def test_a_miss_makes_a_mean_distance_infinite_and_is_counted_beside_the_rest():
    found = summarise(torch.tensor([2.0, 4.0, math.inf, math.nan]))
    assert found.mean == math.inf and found.finite_mean == 3 and found.infinite == 1
    assert repr(found) == "3.000 ± 1.414 over 2 of 3 cases, 1 infinite (1 undefined, left out)"


def test_a_summary_of_nothing_is_no_number():
    for values, cases in ((torch.empty(0), 0), (torch.tensor([math.nan]), 0), (torch.tensor([math.inf]), 1)):
        found = summarise(values)
        assert found.cases == cases and math.isnan(found.finite_mean) and math.isnan(found.finite_std)
    assert summarise(torch.tensor([math.inf])).mean == math.inf


@pytest.mark.parametrize("values, told", [
    ([0.5], "0.500 over 1 case"), ([2.0, math.inf], "2.000 over 1 of 2 cases, 1 infinite"),
    ([math.inf], "infinite in each of 1 case"),
    ([math.inf, math.inf, math.nan], "infinite in each of 2 cases (1 undefined, left out)"),
    ([], "no case"), ([math.nan], "no case (1 undefined, left out)")])
def test_a_summary_says_nan_of_nothing(values, told):
    assert repr(summarise(torch.tensor(values))) == told


def test_a_summary_refuses_what_is_no_metric(refused):
    with refused("values: expected a float tensor, got list"):
        summarise([1.0])
    with refused("values: expected a float tensor, got torch.int64"):
        summarise(torch.tensor([1]))
    with refused("values: expected .* got -inf"):
        summarise(torch.tensor([-math.inf]))

"""Ranges: two numbers in order, within their bounds; all else is refused by name."""
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medlearn.data._ranges import check_length, check_range, check_whole_range


def refuses(check, *arguments, **bounds):
    try:
        return check("noise", *arguments, **bounds)
    except (TypeError, ValueError) as error:
        assert str(error).startswith("noise: expected ")
        return True


@given(low=st.floats(-2, 6), high=st.floats(-2, 6))
def test_a_range_is_two_numbers_in_order_and_within_the_bounds(low, high):
    assert bool(refuses(check_range, (low, high), most=5)) == (not 0 <= low <= high <= 5)
    assert bool(refuses(check_range, [low, high], above=1)) == (not 1 < low <= high)


@given(low=st.integers(-2, 6), high=st.integers(-2, 6))
def test_a_whole_range_is_two_whole_numbers_in_order_from_the_least_on(low, high):
    assert bool(refuses(check_whole_range, (low, high), least=1)) == (not 1 <= low <= high)


def test_numbers_of_numpy_are_numbers():
    check_range("noise", (np.float32(0.5), np.int64(1)))
    check_whole_range("masses", [np.int32(1), 2], least=1)
    check_length("diagnosis", (0.2, 0.5, 0.3), 3)


@pytest.mark.parametrize("wrong", [(0.1,), (0.1, 0.2, 0.3), (), 0.1, "01", None, {0.1, 0.2}, (True, True), ("0", "1"),
                                   (math.nan, 1.0), (0.0, math.inf), (1.0, 0.5)], ids=repr)
def test_what_is_no_pair_of_numbers_is_refused(refused, wrong):
    with refused("^noise: expected .* got"):
        check_range("noise", wrong)


@pytest.mark.parametrize("wrong", [(1.0, 2), (True, 2), (1, None), (2, 1), (0, 1), "12"], ids=repr)
def test_what_is_no_pair_of_whole_numbers_is_refused(refused, wrong):
    with refused("^masses: expected .* got"):
        check_whole_range("masses", wrong, least=1)


def test_another_length_is_refused(refused):
    with refused(r"^diagnosis: expected 3 numbers, got \(0.5, 0.5\)"):
        check_length("diagnosis", (0.5, 0.5), 3)

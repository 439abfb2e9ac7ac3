"""How two values differ: what counts as equal, and the sentence for what does not."""
import numpy as np
import pytest
import torch

from medlearn.checks.compare import difference

X = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("dtype, within, beyond", [
    (torch.float64, 1e-9, 1e-6), (torch.float32, 1e-6, 1e-3), (torch.float16, 1e-3, 1e-1), (torch.bfloat16, 1e-2, 1e-1),
], ids=str)
def test_the_tolerance_follows_the_dtype(dtype, within, beyond):
    expected = torch.tensor([0.0, 100.0], dtype=dtype)
    assert difference(expected, expected + 50 * within) is None
    assert difference(expected, expected + 100 * beyond)


def test_where_any_float_dtype_will_do_the_coarser_one_sets_the_tolerance():
    third = torch.tensor([1 / 3], dtype=torch.float64)
    assert difference(third, third.float(), same_dtype=False) is None
    assert difference(third, third.float()).reason == "Expected float64, got float32."
    assert difference(third.float(), torch.tensor([0]), same_dtype=False).reason == "Expected a float dtype, got int64."


@pytest.mark.parametrize("got", [2.0, 2, torch.tensor(2.0), torch.tensor(2), np.float32(2), np.int64(2)],
                         ids=["float", "int", "float tensor", "int tensor", "NumPy float", "NumPy int"])
def test_a_number_may_come_as_any_number(got):
    assert difference(2.0, got) is None


@pytest.mark.parametrize("got", [True, "2", [2.0], torch.tensor([2.0]), torch.tensor(True), 2j,
                                 torch.ones((), device="meta")],
                         ids=["bool", "text", "list", "one element", "bool tensor", "complex", "meta"])
def test_what_is_no_number_is_named(got):
    assert "Expected one number" in difference(2.0, got).reason


def test_numbers_are_compared_with_care():
    assert difference(2.0, float("nan")).reason == "The number is NaN."
    assert difference(3, 3.0) and difference(3, 4) and difference(3, 3) is None
    assert difference(float("inf"), float("inf")) is None and difference(float("nan"), float("nan")) is None
    assert difference(float("inf"), 5.0) and difference(5.0, float("inf"))
    assert difference(0.0, 1e-7) is None and difference(1.0, 1.001)


def test_expected_infinities_and_nans_must_be_met():
    expected = torch.tensor([float("inf"), float("nan"), 1.0])
    assert difference(expected, expected.clone()) is None
    assert difference(expected, torch.tensor([-float("inf"), float("nan"), 1.0]))
    assert difference(expected, torch.tensor([float("inf"), 0.0, 1.0]))
    assert difference(torch.full((2,), float("inf")), torch.zeros(2))


def test_several_results_are_compared_one_by_one():
    assert difference((X, 1), [X, 1]) is None
    assert difference((X, 1), (X, 2)).reason == "Result 2: The number is another."
    assert difference((X, 1), (X,)).reason == "Expected 2 results, got 1 of them."
    assert difference((X, 1), X).reason.startswith("Expected 2 results, got a tensor")
    assert difference({"a": X}, {"a": X + 1}).reason.startswith("['a']: 6 of 6 values differ")
    assert difference({"a": X}, {"b": X}).reason == "Expected a dictionary with the keys ['a'], got the keys ['b']."
    assert difference(torch.Size([1, 2]), (1, 2)) is None
    assert difference(True, False) and difference(True, 1) and difference("a", "a") is None

"""One wording for what is refused at the door, and numbers of every kind that are none."""
import math

import numpy as np
import pytest
import torch

from medlearn.base.validation import (
    as_tensor,
    check_choice,
    check_finite,
    check_holds,
    check_labels,
    check_number,
    check_same,
    check_shape,
    check_tensor,
    check_whole,
    kind_of,
)

IMAGE = torch.zeros(2, 1, 4, 4)


def test_what_is_right_comes_back():
    assert check_tensor("x", IMAGE, dtype="float", shape="(B, C, *S)") is IMAGE
    assert check_finite("x", IMAGE, least=0) is IMAGE and check_same("x", IMAGE, like=IMAGE) is IMAGE
    assert check_shape("x", IMAGE, (2, 1, 4, 4)) is IMAGE
    assert check_choice("x", "a", ("a", "b")) == "a"


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.float64(3), np.int64(3)], ids=str)
def test_numbers_of_python_and_numpy_are_numbers(value):
    assert check_number("x", value, least=0, most=3) == 3.0 and type(check_number("x", value)) is float


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)], ids=repr)
def test_whole_numbers_of_python_and_numpy_are_whole(value):
    assert check_whole("x", value, least=1) == 3 and type(check_whole("x", value)) is int


@pytest.mark.parametrize("value", [True, "3", None, [3], torch.tensor(3.0), np.array([3.0]), 3j], ids=repr)
def test_what_is_no_number_is_refused(value, refused):
    for check in (check_number, check_whole):
        with refused("x: expected a (whole )?number, got"):
            check("x", value)


@pytest.mark.parametrize("bounds, value, says", [
    (dict(least=0), -1, "0 or more, got -1"), (dict(least=0, most=1), 2, r"0\.\.1, got 2"),
    (dict(above=0), 0, "above 0, got 0"),
    (dict(above=0, below=1), 1, "above 0 and below 1, got 1"), (dict(most=5, unit="mm"), 6, "at most 5 mm, got 6"),
    (dict(), math.inf, "a finite number, got inf"), (dict(least=0), math.nan, "0 or more, got nan"),
])
def test_numbers_out_of_bounds_are_refused(bounds, value, says, refused):
    with refused(f"x: expected {says}"):
        check_number("x", value, **bounds)


@pytest.mark.parametrize("value, options, says", [
    (3, dict(dtype="float"), "a float tensor, got int"),
    (np.zeros(3), dict(dtype="float", shape="(B, C, *S)"), r"a float tensor \(B, C, \*S\), got ndarray"),
    (IMAGE.long(), dict(dtype="float"), r"a float tensor, got torch.int64 of shape \(2, 1, 4, 4\)"),
    (IMAGE.int(), dict(dtype="int64"), "an int64 tensor, got torch.int32"),
    (IMAGE.to(torch.uint16), dict(dtype="integer"), "an integer tensor, got torch.uint16"),
    (IMAGE.to_sparse(), dict(dtype="float"), "a float tensor, got a tensor of layout torch.sparse_coo"),
    (torch.quantize_per_tensor(IMAGE, 1.0, 0, torch.quint8), dict(dtype="float"),
     "a float tensor, got a tensor of layout .* torch.quint8"),
    (torch.nested.nested_tensor([IMAGE[0], IMAGE[0, :, :2]]), dict(dtype="float", shape="(B, C, *S)"),
     ".* got a nested tensor"),
    (IMAGE[0], dict(dtype="float", shape="(B, C, *S)"),
     r"\(B, C, \*S\) with 2 or 3 axes of space, got shape \(1, 4, 4\)"),
    (IMAGE, dict(dtype="float", shape="(n,)"), r"\(n,\), got shape \(2, 1, 4, 4\)"),
    (IMAGE[0, 0, 0], dict(dtype="float", shape="(B, K, *S)", space=(0, 1, 2, 3)), ".* with 0, 1, 2 or 3 axes of space"),
])
def test_what_is_no_such_tensor_is_refused(value, options, says, refused):
    with refused(f"x: expected {says}"):
        check_tensor("x", value, **options)


@pytest.mark.parametrize("value, bounds, says", [
    ([1.0, math.nan], {}, "finite numbers, got a range of nan to nan"),
    ([1.0, math.inf], {}, "finite numbers, got a range of 1 to inf"),
    ([1.0, -2.0], dict(least=0, hint="Log-variances?"), r"0 or more, got -2\. Log-variances\?"),
    ([1.0, 3.0], dict(least=0, most=2), r"0\.\.2, got 3"),
])
def test_values_that_cannot_be_are_refused(value, bounds, says, refused):
    with refused(f"x: expected {says}"):
        check_finite("x", torch.tensor(value), **bounds)


def test_nothing_holds_everything():
    none = torch.empty(0, 1, 4, 4)
    assert check_finite("x", none, least=5) is none and check_labels("x", none.long()) is not None


def test_labels(refused):
    labels = torch.tensor([0, 2, 255])
    assert check_labels("x", labels, classes=3, ignore_index=255) is labels and check_labels("x", labels) is labels
    with refused(r"x: expected labels of 0\.\.2 for 3 classes, got 255"):
        check_labels("x", labels, classes=3)
    with refused(r"x: expected labels of 0\.\.1 for 2 classes or ignore_index = 255, got 2"):
        check_labels("x", labels, classes=2, ignore_index=255)
    with refused("x: expected labels of 0 or more, got -1"):
        check_labels("x", labels - 1)


def test_what_does_not_go_together_is_refused(refused):
    with refused(r"x: expected shape \(2, 1, 4, 4\) on cpu, as the target has, got \(1, 1, 4, 4\) on cpu"):
        check_same("x", IMAGE[:1], like=IMAGE, whose="the target")
    with refused(r"x: expected shape .* on cpu, got .* on meta"):
        check_same("x", IMAGE.to("meta"), like=IMAGE)
    with refused(r"x: expected shape \(2,\) to go with the image, got \(2, 1, 4, 4\)"):
        check_shape("x", IMAGE, (2,), because="to go with the image")
    with refused("x: expected 1 or more, got 0"):
        check_holds("x", IMAGE, IMAGE >= 1, expected="1 or more")
    with refused('x: expected "a", "b" or "c", got \'d\''):
        check_choice("x", "d", ("a", "b", "c"))
    with refused("x: expected 2 or 3, got True"):
        check_choice("x", True, (2, 3))


def test_what_came_is_said():
    assert kind_of(IMAGE) == "torch.float32 of shape (2, 1, 4, 4)" and kind_of(None) == "NoneType"


@pytest.mark.parametrize("dtype, wide", [("int16", torch.int64), ("uint8", torch.int64), (">i4", torch.int64),
                                         ("float64", torch.float32), (">f4", torch.float32), ("bool", torch.bool)])
def test_arrays_of_files_become_tensors(dtype, wide, refused):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    array.flags.writeable = False
    for given in (array, array.T, array[:, ::-1]):
        found = as_tensor("x", given)
        assert found.dtype == wide and found.tolist() == given.tolist()
    assert as_tensor("x", IMAGE) is IMAGE
    for bad in (array.astype(complex), array.astype(str), [1, 2], None):
        with refused("x: expected an array of numbers, got"):
            as_tensor("x", bad)

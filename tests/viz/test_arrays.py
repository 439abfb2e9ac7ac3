"""Tensors and arrays for a picture: the same values, whatever their type; all else is refused by name."""
import numpy as np
import pytest
import torch

from medlearn.viz.arrays import as_array, check_array

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int16, torch.uint8,
          torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tensor_of_every_real_type_keeps_its_values(dtype):
    tensor = torch.tensor([[0, 1], [1, 0]]).to(dtype)
    array = as_array(tensor, "image")
    assert isinstance(array, np.ndarray) and array.tolist() == tensor.tolist()
    assert array.dtype == (np.float32 if dtype == torch.bfloat16 else tensor.numpy().dtype)


def test_an_array_is_given_back_and_a_gradient_left_behind():
    array = np.arange(6).reshape(2, 3)
    assert as_array(array, "image") is array
    assert as_array(torch.ones(2, requires_grad=True), "image").tolist() == [1, 1]
    assert as_array(torch.zeros(0, 3), "image").shape == (0, 3)


@pytest.mark.parametrize("wrong", [[[0, 1]], 3.0, "image", None], ids=repr)
@pytest.mark.parametrize("check", [as_array, check_array])
def test_what_is_no_array_is_refused(refused, check, wrong):
    with refused(f"^image: expected a torch tensor or a numpy array, got {type(wrong).__name__}"):
        check(wrong, "image")


@pytest.mark.parametrize("wrong", [torch.zeros(2, dtype=torch.complex64), np.array(["a"]), np.array([None])],
                         ids=["complex", "text", "objects"])
def test_values_that_are_no_real_numbers_are_refused(refused, wrong):
    with refused("^image: expected real numbers or booleans, got "):
        as_array(wrong, "image")


@pytest.mark.gpu
def test_a_tensor_on_a_gpu_comes_down():
    assert as_array(torch.ones(2, device="cuda"), "image").tolist() == [1, 1]

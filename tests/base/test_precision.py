"""The dtype that sums and logarithms are computed in."""
import pytest
import torch

from medlearn.base.precision import accumulating, at_least_float32


@pytest.mark.parametrize("dtype, wide", [
    (torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float32, torch.float32),
    (torch.float64, torch.float64), (torch.uint8, torch.float32), (torch.bool, torch.float32)], ids=str)
def test_it_is_float32_or_better(dtype, wide):
    values = torch.ones(2, 3, dtype=dtype)
    assert accumulating(dtype) == wide and at_least_float32(values).dtype == wide
    assert torch.equal(at_least_float32(values), torch.ones(2, 3, dtype=wide))


def test_what_is_wide_enough_is_not_copied_and_gradients_flow_through():
    wide = torch.ones(3)
    assert at_least_float32(wide) is wide
    narrow = torch.ones(3, dtype=torch.float16, requires_grad=True)
    at_least_float32(narrow).sum().backward()
    assert narrow.grad.dtype == torch.float16 and narrow.grad.tolist() == [1, 1, 1]

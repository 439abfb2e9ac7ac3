"""What to compute in: half precision has too few digits for sums, logarithms and Fourier transforms."""
from __future__ import annotations

import torch
from torch import Tensor


def accumulating(dtype: torch.dtype) -> torch.dtype:
    """float32, or float64 where the input is."""
    return torch.promote_types(dtype, torch.float32)


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in `accumulating` precision."""
    return tensor.to(accumulating(tensor.dtype))

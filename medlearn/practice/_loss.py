"""What a loss of one's own has to give before it is learnt from."""
from __future__ import annotations

from torch import Tensor

from medlearn.base.validation import check_tensor


def checked_loss(value: Tensor, *, source: str) -> Tensor:
    """One finite number with a gradient that leads back to its `source`. Errors: TypeError, ValueError."""
    check_tensor("loss", value, dtype="float")
    if value.ndim:
        raise ValueError(f"loss: expected one number, got a tensor of shape {tuple(value.shape)}")
    if not value.requires_grad:
        raise ValueError(f"loss: expected a number with a gradient, got one that is cut off from the {source}")
    if not value.isfinite():
        raise ValueError(f"loss: expected a finite number, got {value.item()}")
    return value

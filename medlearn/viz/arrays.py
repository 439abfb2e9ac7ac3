"""What the pictures take: torch tensors and numpy arrays."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medlearn.base.validation import is_unusual, kind_of

Array = Tensor | np.ndarray


def as_array(array: Array, name: str) -> np.ndarray:
    r"""The values of a tensor, on whatever device, or of an array; `name` is the argument's, for the message.

    Errors: TypeError for anything else, and for values that are no real numbers or booleans.
    """
    check_array(array, name)
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()     # numpy has no bfloat16
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected real numbers or booleans, got {array.dtype}")
    return array


def check_array(array: Array, name: str) -> None:
    """Refuses what is neither a tensor nor an array."""
    if is_unusual(array) or not isinstance(array, Tensor | np.ndarray):
        raise TypeError(f"{name}: expected a torch tensor or a numpy array, got {kind_of(array)}")

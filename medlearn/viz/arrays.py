"""What the pictures take: torch tensors and numpy arrays."""
from __future__ import annotations

import numpy as np
from torch import Tensor

Array = Tensor | np.ndarray


def as_array(array: Array, name: str) -> np.ndarray:
    r"""The values of a tensor, on whatever device, or of an array.

    :raises TypeError: anything else; `name` is the argument's, for the message.

    Chapter: none.
    """
    if not isinstance(array, Tensor | np.ndarray):
        raise TypeError(f"{name}: expected a torch tensor or a numpy array, got {type(array).__name__}")
    return array.detach().cpu().numpy() if isinstance(array, Tensor) else array

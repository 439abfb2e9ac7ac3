"""What every loss refuses at the door, beyond logits and labels that do not go together."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.labelled import look_at_values
from medlearn.base.precision import accumulating
from medlearn.base.validation import INTEGERS, Number, check_finite, check_number, check_shape, check_tensor

ClassNumbers = Float[Tensor, "k"] | np.ndarray | Sequence[Number]


def check_numbers(logits: Tensor, *, clue: Tensor) -> None:
    """Refuses NaN and +inf, which make `clue`, a sum over the voxels, infinite or NaN; else there is no search."""
    if look_at_values(clue) and not clue.isfinite().all():
        if (wrong := logits.isnan() | logits.isposinf()).any():
            raise ValueError("logits: expected finite numbers (or -inf for a class ruled out), "
                             f"got {logits[wrong][0].item()}")


def counted_logits(logits: Tensor, labels: Tensor, ignore_index: int | None, where: Tensor | None) -> Tensor:
    """The logits, without NaN and +inf: those that do not count become 0, or their gradient would be NaN too."""
    looks = look_at_values(logits)
    if looks and (clue := logits.detach().sum()).isfinite():
        return logits
    if ignore_index is not None:
        logits = logits.masked_fill((labels == ignore_index)[:, None], 0)
    if where is not None:
        logits = logits.masked_fill(~where, 0)
    if looks:
        check_numbers(logits, clue=clue)
    return logits


def class_numbers(name: str, values: ClassNumbers) -> Tensor:
    """One number of 0 or more for each class, as a tensor."""
    if isinstance(values, Tensor):
        check_tensor(name, values, dtype="integer" if values.dtype in INTEGERS else "float", shape="(K,)")
        return check_finite(name, values, least=0) if look_at_values(values) else values
    if not isinstance(values, Iterable):
        raise TypeError(f"{name}: expected one number for each class, got {values!r}")
    return torch.tensor([check_number(f"{name}[{k}]", value, least=0) for k, value in enumerate(values)])


def class_weights(name: str, weight: ClassNumbers | None, logits: Tensor) -> Tensor | None:
    """One number for each class, where the logits are and at least as precise as float32."""
    if weight is None:
        return None
    weight = class_numbers(name, weight).to(device=logits.device, dtype=accumulating(logits.dtype),
                                            non_blocking=logits.is_cuda)    # on the way to a GPU nobody waits
    return check_shape(name, weight, logits.shape[1:2], because=f"for {logits.shape[1]} classes")

"""The parameters of samplers and likelihoods: numbers, or tensors with one for each image or each voxel."""
from __future__ import annotations

import math
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.precision import accumulating
from medlearn.base.validation import (INTEGERS, Number, check_finite, check_float, check_holds, check_number,
                                      is_unusual, kind_of)

Numbers = Number | Float[Tensor, "..."]
PerImage = Number | Float[Tensor, "b"]


def numbers(**values: Numbers) -> dict[str, Tensor]:
    """Finite numbers and float tensors as tensors of float32, or of float64 where one is, on the first one's device."""
    for name, value in values.items():
        if not isinstance(value, Tensor):
            check_number(name, value)
        elif is_unusual(value) or not value.is_floating_point():
            raise TypeError(f"{name}: expected a number or a float tensor, got {kind_of(value)}")
    tensors = [value for value in values.values() if isinstance(value, Tensor)] or [torch.empty(())]
    dtype = accumulating(common_dtype(*tensors))
    return {name: torch.as_tensor(value, dtype=dtype, device=tensors[0].device) for name, value in values.items()}


def common_dtype(*values: Numbers) -> torch.dtype:
    """What the tensors among them have in common."""
    dtypes = [value.dtype for value in values if isinstance(value, Tensor)]
    return reduce(torch.promote_types, dtypes or [torch.get_default_dtype()])


def per_image(name: str, value: Number | Tensor, batch: int, *, least: float = -math.inf,
              most: float = math.inf, above: float = -math.inf, unit: str = "") -> Tensor:
    """One finite number within the bounds for each image; whole numbers become float32."""
    if not isinstance(value, Tensor):
        number = check_number(name, value, least=least, most=most, above=above, unit=unit)
        return torch.tensor(float(number)).expand(batch)
    if is_unusual(value) or not (value.is_floating_point() or value.dtype in INTEGERS):
        raise TypeError(f"{name}: expected a number or a float tensor, got {kind_of(value)}")
    if tuple(value.shape) not in ((), (batch,)):
        raise ValueError(f"{name}: expected one number, or one for each of {batch} images, got {tuple(value.shape)}")
    check_finite(name, value, least=least, most=most)
    if math.isfinite(above):
        check_holds(name, value, value > above, expected=f"above {above:g}")
    return (value if value.is_floating_point() else value.float()).expand(batch)


def over_image(value: Tensor, image: Tensor) -> Tensor:
    """One number for each image, shaped so that it multiplies the image."""
    return value.to(image.device).reshape(-1, *[1] * (image.ndim - 1))


def check_image(name: str, image: Tensor, *, least: float = -math.inf, hint: str = "") -> Tensor:
    """Refuses anything but a finite float image `(B, C, *S)`, and values below the least one, with a hint."""
    return check_float(name, image, shape="(B, C, *S)", least=least, hint=hint)

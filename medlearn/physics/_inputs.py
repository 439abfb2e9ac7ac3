"""What the samplers and likelihoods refuse at the door, and the noise they draw."""
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Generator, Tensor

from medlearn.tasks import kind_of


def check_holds(name: str, value: Tensor, holds: Tensor, expected: str) -> None:
    """Refuses the first value for which something that must hold does not; NaN holds nothing."""
    if not holds.all():
        wrong = value.broadcast_to(holds.shape)[~holds].flatten()[0].item()
        raise ValueError(f"{name}: expected {expected}, got {wrong:.4g}")


def check_float(name: str, value: Tensor) -> None:
    """Refuses what is no float tensor."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(f"{name}: expected a float tensor, got {kind_of(value)}")


def check_image(name: str, image: Tensor) -> None:
    """Refuses what is no finite float image `(B, C, *S)` with two or three axes of space."""
    if not isinstance(image, Tensor) or not image.is_floating_point():
        raise TypeError(f"{name}: expected a float tensor (B, C, *S), got {kind_of(image)}")
    if image.ndim not in (4, 5):
        raise ValueError(f"{name}: expected (B, C, *S) with 2 or 3 axes of space, got shape {tuple(image.shape)}")
    if image.numel():
        check_finite(name, *image.detach().aminmax())


def check_not_negative(name: str, image: Tensor, hint: str) -> None:
    """Refuses values below 0, with a hint at what such an image may be; and what is not finite."""
    if image.numel() == 0:
        return
    low, high = image.detach().aminmax()
    if low < 0:
        raise ValueError(f"{name}: expected values of 0 or more, got a minimum of {low.item():.4g}. {hint}")
    check_finite(name, low, high)


def check_finite(name: str, low: Tensor, high: Tensor) -> None:
    if not (low.isfinite() and high.isfinite()):
        raise ValueError(f"{name}: expected finite values, got a range of {low.item()} to {high.item()}")


def numbers(**values: float | Tensor) -> dict[str, Tensor]:
    """Numbers and float tensors as tensors of the tensors' common dtype, on the first one's device."""
    tensors = [v for v in values.values() if isinstance(v, Tensor)] or [torch.empty(())]
    dtype = reduce(torch.promote_types, (t.dtype for t in tensors))
    if not dtype.is_floating_point:
        raise TypeError(f"{', '.join(values)}: expected numbers or float tensors, got {dtype}")
    return {name: torch.as_tensor(v, dtype=dtype, device=tensors[0].device) for name, v in values.items()}


def per_image(name: str, value: float | Tensor, batch: int) -> Tensor:
    """One finite number of 0 or more for each image."""
    value = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float32)
    if tuple(value.shape) not in ((), (batch,)):
        raise ValueError(f"{name}: expected one number, or one for each of {batch} images, got {tuple(value.shape)}")
    check_holds(name, value, (value >= 0) & value.isfinite(), "0 or more, and finite")
    return value.expand(batch)


def over_image(value: Tensor, image: Tensor) -> Tensor:
    """One number for each image, shaped so that it multiplies the image."""
    return value.to(image.device).reshape(-1, *[1] * (image.ndim - 1))


def normal(shape: Sequence[int], generator: Generator | Sequence[Generator]) -> Tensor:
    """Standard normal numbers from the batch's generator, or from each image's own."""
    if isinstance(generator, Generator):
        return torch.randn(*shape, generator=generator, device=generator.device)
    if not isinstance(generator, Sequence) or not all(isinstance(g, Generator) for g in generator):
        raise TypeError(f"generator: expected a torch.Generator or one for each image, got {kind_of(generator)}")
    if len(generator) != shape[0]:
        raise ValueError(f"generator: expected one, or one for each of {shape[0]} images, got {len(generator)}")
    draws = [torch.randn(*shape[1:], generator=g, device=g.device) for g in generator]
    return torch.stack(draws) if draws else torch.empty(*shape)


def at_least_float32(tensor: Tensor) -> Tensor:
    """What to compute in: half precision has too few digits for sums, logarithms and Fourier transforms."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def check_number(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Refuses what is no number within bounds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if not low <= value <= high or math.isnan(value):
        raise ValueError(f"{name}: expected {low:g}..{high:g}{unit and ' ' + unit}, got {value:g}")

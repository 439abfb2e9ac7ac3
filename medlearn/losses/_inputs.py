"""What every loss refuses at the door, and how to leave out the part of it that looks at the values."""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.tasks import kind_of

ClassNumbers = Float[Tensor, "k"] | Sequence[float]

_values_are_checked = True


@contextmanager
def trusted_values() -> Iterator[None]:
    r"""Inside, nobody looks for labels out of range or for NaN: saves a few percent of a loss, and a wait for the GPU.

    Shapes and dtypes are still checked. On a CPU a label out of range is then PyTorch's index error; on a GPU it ends
    the process. Compiled losses (`torch.compile`) never look at values. Chapter 2.
    """
    global _values_are_checked
    before, _values_are_checked = _values_are_checked, False
    try:
        yield
    finally:
        _values_are_checked = before


def check_inputs(logits: Tensor, labels: Tensor, ignore_index: int | None) -> None:
    """Refuses what is no logits `(B, K, *S)` with int64 labels `(B, *S)` in 0..K-1 (or `ignore_index`)."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise TypeError(f"logits: expected a float tensor (B, K, *S), got {kind_of(logits)}")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"labels: expected an int64 tensor (B, *S) of class indices, got {kind_of(labels)}")
    if not 2 <= logits.ndim <= 5:
        raise ValueError(f"logits: expected (B, K, *S) with at most 3 axes of space, got shape {tuple(logits.shape)}")
    if logits.shape[1] < 2:
        raise ValueError(f"logits: expected K >= 2 classes, got K = {logits.shape[1]}. For one class against background "
                         "use torch.cat([torch.zeros_like(z), z], dim=1): its probability of class 1 is sigmoid(z)")
    if labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(f"labels: expected shape {(logits.shape[0], *logits.shape[2:])} to go with the logits "
                         f"{tuple(logits.shape)}, got {tuple(labels.shape)}")
    if labels.device != logits.device:
        raise ValueError(f"labels: expected them on {logits.device}, where the logits are, got {labels.device}")
    if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
        raise TypeError(f"ignore_index: expected a label or None, got {ignore_index!r}")
    if _look_at_values() and labels.numel():
        _check_labels(labels, logits.shape[1], ignore_index)


def check_numbers(logits: Tensor, *, clue: Tensor) -> None:
    """Refuses NaN and +inf. They do not leave `clue`, a sum over the voxels, finite; where it is, nobody looks further."""
    if _look_at_values() and not clue.isfinite().all() and (wrong := logits.isnan() | logits.isposinf()).any():
        raise ValueError(f"logits: expected finite numbers (or -inf for a class ruled out), got {logits[wrong][0].item()}")


def class_weights(name: str, weight: Tensor | Sequence[float] | None, logits: Tensor) -> Tensor | None:
    """One number for each class, of 0 or more, where the logits are and at least as precise as float32."""
    if weight is None:
        return None
    weight = torch.as_tensor(weight).to(device=logits.device, dtype=accumulating(logits.dtype))
    if tuple(weight.shape) != (logits.shape[1],):
        raise ValueError(f"{name}: expected one number for each of {logits.shape[1]} classes, "
                         f"got shape {tuple(weight.shape)}")
    if _look_at_values() and not (good := (weight >= 0) & weight.isfinite()).all():
        raise ValueError(f"{name}: expected finite numbers of 0 or more, got {weight[~good][0].item():.4g}")
    return weight


def check_number(name: str, value: float, least: float = 0.0, *, above: bool = False) -> None:
    """Refuses what is no finite number, or is below `least` (or no more than it)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if not math.isfinite(value) or value < least or (above and value == least):
        raise ValueError(f"{name}: expected a finite number {'above' if above else 'of at least'} {least:g}, got {value}")


def accumulating(dtype: torch.dtype) -> torch.dtype:
    """What to compute in: float32, or float64 where the input is."""
    return torch.promote_types(dtype, torch.float32)


def _look_at_values() -> bool:
    return _values_are_checked and not torch.compiler.is_compiling()


def _check_labels(labels: Tensor, classes: int, ignore_index: int | None) -> None:
    low, high = labels.aminmax()
    if 0 <= low and high < classes:
        return
    wrong = (labels < 0) | (labels >= classes)
    if ignore_index is not None:
        wrong &= labels != ignore_index
    if wrong.any():
        hint = "" if ignore_index is not None else "; voxels without a label are left out by ignore_index"
        raise ValueError(f"labels: expected 0..{classes - 1} for {classes} classes"
                         + (f" or ignore_index = {ignore_index}" if ignore_index is not None else "")
                         + f", got {labels[wrong][0].item()}{hint}")
